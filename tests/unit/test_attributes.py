"""zramfs.core.attributes: each grammar, each format, each errno."""

import errno

import pytest

from tests.pages import make_page
from tests.unit.conftest import NR_SLOTS
from zramfs.core.attributes import ATTRIBUTES
from zramfs.core.device import Device
from zramfs.errors import ZramError
from zramfs.units import PAGE_SIZE

DISKSIZE = NR_SLOTS * PAGE_SIZE
U64_MAX = str((1 << 64) - 1)

MODES = {
    "disksize": 0o644,
    "initstate": 0o444,
    "reset": 0o200,
    "compact": 0o200,
    "mem_limit": 0o200,
    "mem_used_max": 0o200,
    "idle": 0o200,
    "comp_algorithm": 0o644,
    "backing_dev": 0o644,
    "writeback": 0o200,
    "writeback_limit": 0o644,
    "writeback_limit_enable": 0o644,
    "writeback_batch_size": 0o644,
    "compressed_writeback": 0o644,
    "io_stat": 0o444,
    "mm_stat": 0o444,
    "bd_stat": 0o444,
    "debug_stat": 0o444,
    "recomp_algorithm": 0o644,
    "recompress": 0o200,
    "algorithm_params": 0o200,
}
READABLE = [name for name, mode in MODES.items() if mode & 0o444]
WRITABLE = [name for name, mode in MODES.items() if mode & 0o200]

ZEROS = "       0" + "        0" * 8 + "\n"
BARE_TEXTS = {
    "disksize": "0\n",
    "initstate": "0\n",
    "comp_algorithm": "[lz4] lz4hc zstd deflate \n",
    "backing_dev": "none\n",
    "writeback_limit": "0\n",
    "writeback_limit_enable": "0\n",
    "writeback_batch_size": "32\n",
    "compressed_writeback": "0\n",
    "io_stat": "       0        0 0        0\n",
    "mm_stat": ZEROS,
    "bd_stat": "       0        0        0\n",
    "debug_stat": "version: 1\n0        0\n",
    "recomp_algorithm": "",
}

# What a write to a device without a disksize answers: the disksize, or the errno.
DISKSIZES = {
    "4096": 4096,
    "1": 4096,
    "4095": 4096,
    "4097": 8192,
    "1k": 4096,
    "010": 4096,
    "00004096": 4096,
    "1.5M": 4096,
    "1M": 1 << 20,
    "1m": 1 << 20,
    "1M\n": 1 << 20,
    "1M\n\n": 1 << 20,
    "1M junk": 1 << 20,
    "1Mb": 1 << 20,
    "1MM": 1 << 20,
    "0x100000": 1 << 20,
    "0x10k": 1 << 14,
    "1G": 1 << 30,
    "1g": 1 << 30,
}
REFUSED_DISKSIZES = {
    **dict.fromkeys(
        (
            *("0", "00", "0M", "-1", "-4096", "abc", "\n", " 1M", "\t4096", "\n4096"),
            *("+1M", "M", "K", "0x", "0xg", ".5M", "#1M", "", "0b1"),
            *("16E", "18446744073709551616", "17179869184G"),
            *(U64_MAX, "18446744073709547521"),
        ),
        errno.EINVAL,
    ),
    **dict.fromkeys(("1P", "1E", "15E", "1e3"), errno.ENOMEM),
}
NAMES = {
    **{name: name for name in ("lz4", "lz4hc", "zstd", "deflate")},
    **{f"{name}\n": name for name in ("lz4", "lz4hc", "zstd", "deflate")},
}
REFUSED_NAMES = {
    **dict.fromkeys(
        (
            *("lz4\n\n", "lz4 ", " lz4", "LZ4", "lz", "lz4hc2", "lz4 lz4hc", "[lz4]"),
            *("\n", "", "none", "abc", "deflate-iso", "lz4,zstd", "lz4\tx", "lzo"),
            *("lzo-rle", "842", "a" * 126, "a" * 127, "\u00e4" * 63, "\udcff"),
        ),
        errno.EINVAL,
    ),
    **dict.fromkeys(
        ("a" * 128, "a" * 127 + "\n", "a" * 4000, "\u00e4" * 64), errno.E2BIG
    ),
}
LIMITS = {
    "0": 0,
    "1": 4096,
    "4096": 4096,
    "4097": 8192,
    "0x1000": 4096,
    "010": 4096,
    "8K8": 8192,
    "1M junk": 1 << 20,
    "1M\n": 1 << 20,
    "1234567890123": 1234567892992,
    U64_MAX: 0,
    "16E": 0,
}
REFUSED_LIMITS = ("M", "-1", "abc", " 1M", "+1M", "\n", "")
MAXIMA = ("0", "0\n", "00", "+0")
REFUSED_MAXIMA = (
    *("1", "0x0", " 0", "0 ", "0\n\n", "0k", "1M", "-0", "\n", "", U64_MAX),
    "18446744073709551616",
)
RESETS = ("1", "2", "1\n", "+1", "01", "010", "65535")
REFUSED_RESETS = {
    **dict.fromkeys(
        ("0", "00", "-1", "abc", " 1", "1 ", "1x", "0x1", "1M", "1\n\n", "\n", ""),
        errno.EINVAL,
    ),
    **dict.fromkeys(("65536", U64_MAX, "18446744073709551616"), errno.ERANGE),
}
ANYTHING = ("1", "0", "\n", "abc", "", "\udcff")

REFUSED = [
    *(("disksize", text, number) for text, number in REFUSED_DISKSIZES.items()),
    *(("comp_algorithm", text, number) for text, number in REFUSED_NAMES.items()),
    *(("mem_limit", text, errno.EINVAL) for text in REFUSED_LIMITS),
    *(("mem_used_max", text, errno.EINVAL) for text in REFUSED_MAXIMA),
    *(("reset", text, number) for text, number in REFUSED_RESETS.items()),
]
MALFORMED = [row for row in REFUSED if row[2] != errno.ENOMEM]


def store(device: Device, name: str, text: str) -> None:
    for _ in ATTRIBUTES[name].store(device, text) or ():
        pass


def show(device: Device, name: str) -> str:
    shown = ATTRIBUTES[name].show
    assert shown
    return shown(device)


def texts(device: Device) -> dict[str, str]:
    return {name: show(device, name) for name in READABLE}


def refuse(device: Device, name: str, text: str, number: int) -> None:
    """Store what must be refused; nothing may change."""
    before = texts(device)
    with pytest.raises(ZramError, match=r".") as caught:
        store(device, name, text)

    assert caught.value.errno == number
    assert texts(device) == before


def test_the_attributes_are_in_the_order_of_the_kernel() -> None:
    assert list(ATTRIBUTES) == list(MODES)


def test_the_modes_are_those_of_sysfs() -> None:
    assert {name: row.mode for name, row in ATTRIBUTES.items()} == MODES


def test_every_attribute_is_documented_in_a_phrase() -> None:
    for row in ATTRIBUTES.values():
        assert row.doc
        assert not row.doc.endswith(".")


def test_a_new_device_shows_zeros_and_defaults(bare: Device) -> None:
    assert texts(bare) == BARE_TEXTS


@pytest.mark.parametrize("name", sorted(set(READABLE) - set(WRITABLE)))
def test_what_is_read_only_is_never_stored_to(bare: Device, name: str) -> None:
    with pytest.raises(AssertionError, match=f"{name} is read-only"):
        store(bare, name, "1")


@pytest.mark.parametrize(("text", "disksize"), DISKSIZES.items())
def test_disksize_initialises_in_whole_pages(
    bare: Device, text: str, disksize: int
) -> None:
    store(bare, "disksize", text)

    assert show(bare, "disksize") == f"{disksize}\n"
    assert show(bare, "initstate") == "1\n"


@pytest.mark.parametrize(("name", "text", "number"), REFUSED)
def test_a_bare_device_refuses(bare: Device, name: str, text: str, number: int) -> None:
    bare.set_mem_limit(PAGE_SIZE)
    bare.set_algorithm(0, "zstd")

    refuse(bare, name, text, number)


@pytest.mark.parametrize(("name", "text", "number"), MALFORMED)
def test_text_is_parsed_before_the_state_is_looked_at(
    device: Device, name: str, text: str, number: int
) -> None:
    device.open()

    refuse(device, name, text, number)


@pytest.mark.parametrize("text", DISKSIZES)
def test_disksize_is_frozen_after_init(device: Device, text: str) -> None:
    refuse(device, "disksize", text, errno.EBUSY)


@pytest.mark.parametrize(("text", "name"), NAMES.items())
def test_a_listed_algorithm_can_be_chosen(bare: Device, text: str, name: str) -> None:
    store(bare, "comp_algorithm", text)

    listing = "lz4 lz4hc zstd deflate \n"
    assert bare.config.algorithms[0] == name
    assert show(bare, "comp_algorithm") == listing.replace(f"{name} ", f"[{name}] ", 1)


@pytest.mark.parametrize("text", NAMES)
def test_the_algorithm_is_frozen_after_init(device: Device, text: str) -> None:
    refuse(device, "comp_algorithm", text, errno.EBUSY)


@pytest.mark.parametrize(("text", "limit"), LIMITS.items())
@pytest.mark.parametrize("initialised", [False, True])
def test_mem_limit_is_rounded_up_to_whole_pages(
    bare: Device, text: str, limit: int, *, initialised: bool
) -> None:
    if initialised:
        bare.set_disksize(DISKSIZE)
    store(bare, "mem_limit", "64K")
    store(bare, "mem_limit", text)

    assert show(bare, "mm_stat").split()[3] == str(limit)


def test_mem_limit_survives_init(bare: Device) -> None:
    store(bare, "mem_limit", "4K")
    store(bare, "disksize", "1M")

    assert bare.store.limit_pages == 1


@pytest.mark.parametrize("text", MAXIMA)
def test_mem_used_max_begins_anew(device: Device, text: str) -> None:
    device.write(0, memoryview(make_page("rand")))
    device.write(0, memoryview(make_page("zero")))
    assert show(device, "mm_stat").split()[4] == "4096"

    store(device, "mem_used_max", text)

    assert show(device, "mm_stat").split()[4] == "0"


@pytest.mark.parametrize("text", MAXIMA)
def test_mem_used_max_of_a_bare_device_is_accepted(bare: Device, text: str) -> None:
    store(bare, "mem_used_max", text)

    assert texts(bare) == BARE_TEXTS


@pytest.mark.parametrize("text", RESETS)
@pytest.mark.parametrize("initialised", [False, True])
def test_reset_makes_the_device_as_new(
    bare: Device, text: str, *, initialised: bool
) -> None:
    store(bare, "comp_algorithm", "zstd")
    store(bare, "mem_limit", "1M")
    if initialised:
        store(bare, "disksize", "1M")
        bare.write(0, memoryview(make_page("rand") * 3))

    store(bare, "reset", text)

    assert texts(bare) == BARE_TEXTS


@pytest.mark.parametrize("text", RESETS)
def test_reset_of_an_open_device_is_refused(device: Device, text: str) -> None:
    device.open()

    refuse(device, "reset", text, errno.EBUSY)


@pytest.mark.parametrize("text", ANYTHING)
def test_compact_takes_any_text(device: Device, text: str) -> None:
    store(device, "compact", text)


@pytest.mark.parametrize("text", ANYTHING)
def test_compact_of_a_bare_device_is_refused(bare: Device, text: str) -> None:
    refuse(bare, "compact", text, errno.EINVAL)


def test_compact_is_work_in_steps(device: Device) -> None:
    for index in range(NR_SLOTS):
        device.write(index * PAGE_SIZE, memoryview(make_page("half", index)))
    device.write(0, memoryview(bytes(DISKSIZE // 2)))
    before = device.mm_stat().mem_used_total

    steps = ATTRIBUTES["compact"].store(device, "1")

    assert steps
    assert device.mm_stat().mem_used_total == before
    list(steps)
    assert device.mm_stat().mem_used_total < before


def test_long_work_is_exclusive() -> None:
    exclusive = [name for name, row in ATTRIBUTES.items() if row.exclusive]

    assert exclusive == [
        *("reset", "compact", "idle", "backing_dev", "writeback", "recompress"),
        "algorithm_params",
    ]


def test_the_statistics_of_a_used_device(bare: Device) -> None:
    store(bare, "disksize", "8M")
    for first, count, kind in (
        (0, 300, "rand"),
        (300, 100, "text"),
        (400, 50, "same:7"),
        (450, 50, "zero"),
    ):
        for index in range(first, first + count):
            bare.write(index * PAGE_SIZE, memoryview(make_page(kind, index)))
    bare.read(0, 2 * PAGE_SIZE)

    mm_stat = show(bare, "mm_stat").split()
    assert mm_stat[:2] == [str(500 * PAGE_SIZE), str(300 * PAGE_SIZE + 100 * 65)]
    assert mm_stat[5:] == ["100", "0", "300", "300"]
    assert show(bare, "io_stat") == "       0        0 0        0\n"
