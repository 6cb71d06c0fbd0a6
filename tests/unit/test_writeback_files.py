"""zramfs.core.writeback_files: each grammar, each errno, and what comes first."""

import errno

import pytest

from tests.backing import attach, backing_of, backings_of, drive
from tests.unit.passes import fill, flags, opened
from tests.verify import verify
from zramfs.core.attributes import ATTRIBUTES
from zramfs.core.device import Device
from zramfs.core.steps import Work
from zramfs.errors import DeviceBusy, NoBackingDevice, NotInitialised, ZramError

NR_SLOTS = 16

U64_MAX = (1 << 64) - 1

ACCEPTED = {
    **dict.fromkeys(("idle", "idle\n", " idle", "idle ", "idle huge"), "3"),
    **dict.fromkeys(("type=idle", "type=idle\n", "type=idle type=huge"), "3"),
    **dict.fromkeys(("idle=", "idle nonsense", "type=idle page_index=99"), "3"),
    **dict.fromkeys(("huge", "huge\n", "type=huge", "huge idle"), "1 4"),
    **dict.fromkeys(("huge_idle", "incompressible", "type=huge_idle"), ""),
    **dict.fromkeys(("page_index=0", "page_index=0\n", "page_index=00"), "0"),
    **dict.fromkeys((" page_index=1", "page_index=+1", 'page_index="1"'), "1"),
    **dict.fromkeys(("page_index=15", "page_index=5", "page_indexes=5-5"), ""),
    "page_index=1 page_index=2": "1 2",
    "page_index=2 foo=bar": "2",
    "foo=bar page_index=2": "2",
    "foo=bar": "",
    "\n": "",
    "page_indexes=0-2": "0 1 2",
    "page_indexes=0-3\n": "0 1 2 3",
    "page_indexes=+1-+2": "1 2",
    "page_indexes=2-2": "2",
    "page_indexes=0-1 page_indexes=3-4 page_index=8": "0 1 3 4",
    # A type is about the range that was named last.
    "page_index=1 type=idle": "1",
    "page_index=0 page_indexes=2-3 idle": "0 2 3",
    "page_indexes=3-4 page_index=0 huge": "0 3 4",
    "page_indexes=0-15 type=huge": "0 1 2 3 4",
}
REFUSED = {
    **dict.fromkeys(
        (
            *("page_index=-1", "page_index=0x1", "page_index=abc", "page_index="),
            *("page_index", "page_index=1 2", "page_index= 1", "page_indexes=0"),
            *("page_indexes=-1-2", "page_indexes=a-b", "page_indexes=-5"),
            *("page_indexes=1-", "page_indexes=", "page_indexes", "page_indexes=1-2-3"),
            *("type=bogus", "type=", "type", "huge,idle", "IDLE", "all", "0", "abc"),
            *("bogus", "page_index=0 bogus", "=idle", "type=Idle"),
        ),
        errno.EINVAL,
    ),
    **dict.fromkeys(
        (
            *("page_index=16", "page_index=99999999999999999999"),
            *("page_indexes=3-0", "page_indexes=0-16", "page_indexes=16-16"),
            "page_index=1 page_index=99 page_index=2",
            "page_indexes=0-99999999999999999999",
            "page_index=16 bogus",
        ),
        errno.ERANGE,
    ),
}
LIMITS = {"0": 0, "100": 100, "010": 10, "+3": 3, "7\n": 7, str(U64_MAX): U64_MAX}
REFUSED_NUMBERS = ("0x10", "1k", "-1", " 1", "\n", "abc", "1 ", "1\n\n", str(1 << 64))
TRUE = ("1", "y", "Y", "yes", "true", "T", "e", "enable", "on", "On", "oN", "1\n", "yx")
FALSE = ("0", "n", "N", "no", "false", "F", "d", "off", "OF", "0x1", "nonsense")


@pytest.fixture
def device(bare: Device) -> Device:
    """A device of 16 pages: text, huge ones at 1 and 4, and page 3 is idle."""
    attach(bare, NR_SLOTS)
    opened(bare, "lz4", nr_slots=NR_SLOTS)
    fill(bare, "text", "rand", "text", "text", "rand")
    drive(bare.mark_idle(None))
    for index in (0, 1, 2, 4):
        bare.read(index * 4096, 4096)
    return bare


def store(device: Device, name: str, text: str) -> None:
    drive(ATTRIBUTES[name].store(device, text))


def show(device: Device, name: str) -> str:
    shown = ATTRIBUTES[name].show
    assert shown
    return shown(device)


def refuse(device: Device, name: str, text: str, number: int) -> None:
    """Store what must be refused; nothing may change."""
    before = show(device, name), flags(device) if device.disksize else {}
    with pytest.raises((ZramError, OSError), match=r".") as caught:
        store(device, name, text)

    assert isinstance(caught.value, ZramError | OSError)
    assert caught.value.errno == number
    assert (show(device, name), flags(device) if device.disksize else {}) == before


@pytest.mark.parametrize(("text", "spilled"), ACCEPTED.items())
def test_writeback_writes_what_it_is_asked_to(
    device: Device, text: str, spilled: str
) -> None:
    store(device, "writeback", text)

    found = [str(index) for index, word in flags(device).items() if "w" in word]
    assert " ".join(found) == spilled


@pytest.mark.parametrize(("text", "number"), REFUSED.items())
def test_writeback_refuses_and_writes_nothing(
    device: Device, text: str, number: int
) -> None:
    before = flags(device)
    with pytest.raises(ZramError, match=r".") as caught:
        store(device, "writeback", text)

    assert caught.value.errno == number
    assert flags(device) == before


@pytest.mark.parametrize("text", [*ACCEPTED, *REFUSED])
def test_writeback_before_disksize_is_refused_whatever_it_says(
    bare: Device, text: str
) -> None:
    with pytest.raises(NotInitialised, match="not initialised"):
        store(bare, "writeback", text)


@pytest.mark.parametrize("text", [*ACCEPTED, *REFUSED])
def test_writeback_without_a_backing_device_is_refused_whatever_it_says(
    bare: Device, text: str
) -> None:
    opened(bare, "lz4")

    with pytest.raises(NoBackingDevice, match="no backing_dev"):
        store(bare, "writeback", text)


@pytest.mark.parametrize("newline", ["", "\n"])
def test_backing_dev_shows_the_path_of_what_is_open(bare: Device, newline: str) -> None:
    backing = backings_of(bare).make(4)

    store(bare, "backing_dev", f"/.//backing0{newline}")

    assert show(bare, "backing_dev") == "/backing0\n"
    assert backing.is_open


def test_backing_dev_is_found_from_where_the_writer_is(bare: Device) -> None:
    backings_of(bare).make(4)
    bare.files.cwd = "/proc/1/../.."

    store(bare, "backing_dev", "backing0")

    assert show(bare, "backing_dev") == "/backing0\n"


@pytest.mark.parametrize(
    ("text", "number"),
    {
        "none": errno.ENOENT,
        "missing": errno.ENOENT,
        "/backing0 ": errno.ENOENT,
        " /backing0": errno.ENOENT,
        "/backing0\n\n": errno.ENOENT,
        "\n": errno.EISDIR,
        "": errno.EISDIR,
        "/": errno.EISDIR,
        ".": errno.EISDIR,
        "/dev/null": errno.ENOTBLK,
        "/backing1": errno.EINVAL,
        "/" + "a" * 255: errno.ENOENT,
        "/" + "a" * 256: errno.ENAMETOOLONG,
    }.items(),
)
def test_backing_dev_refuses(bare: Device, text: str, number: int) -> None:
    backings_of(bare).make(4)
    tiny = backings_of(bare).make(0)

    refuse(bare, "backing_dev", text, number)

    assert not tiny.is_open


def test_backing_dev_takes_4095_bytes_of_a_path(bare: Device) -> None:
    backings_of(bare).make(4)
    path = "/." * 2043 + "/backing0"
    assert len(path) == 4095

    store(bare, "backing_dev", path)
    assert show(bare, "backing_dev") == "/backing0\n"
    bare.reset()
    refuse(bare, "backing_dev", f"/{path}", errno.ENOENT)
    refuse(bare, "backing_dev", "/." + "\u00e4" * 2047, errno.ENAMETOOLONG)


def test_another_backing_dev_takes_the_place_of_the_first(bare: Device) -> None:
    first, second = (backings_of(bare).make(4) for _ in range(2))
    store(bare, "backing_dev", first.path)

    store(bare, "backing_dev", second.path)

    assert (first.is_open, second.is_open) == (False, True)
    assert show(bare, "backing_dev") == "/backing1\n"


@pytest.mark.parametrize(
    ("text", "number"),
    [("/backing0", errno.EBUSY), ("none", errno.ENOENT), ("/", errno.EISDIR)],
)
def test_a_backing_dev_that_cannot_be_had_leaves_the_one_there_is(
    bare: Device, text: str, number: int
) -> None:
    attach(bare, 4)

    refuse(bare, "backing_dev", text, number)

    assert backing_of(bare).is_open


@pytest.mark.parametrize("text", ["/backing1", "none", "\n", "/backing0"])
def test_backing_dev_is_frozen_once_there_is_a_disksize(
    device: Device, text: str
) -> None:
    backings_of(device).make(4)

    refuse(device, "backing_dev", text, errno.EBUSY)


def test_a_disksize_set_while_it_is_opened_comes_first(bare: Device) -> None:
    backing = backings_of(bare).make(4)
    steps = ATTRIBUTES["backing_dev"].store(bare, "/backing0")
    assert steps
    work = next(steps)
    assert isinstance(work, Work)
    work.run()
    assert next(steps) is work
    bare.set_disksize(1 << 20)

    with pytest.raises(DeviceBusy, match="initialised"):
        next(steps)
    assert not backing.is_open
    assert show(bare, "backing_dev") == "none\n"
    verify(bare)


@pytest.mark.parametrize(("text", "limit"), LIMITS.items())
def test_writeback_limit_is_a_number_of_pages(
    bare: Device, text: str, limit: int
) -> None:
    store(bare, "writeback_limit", text)

    assert show(bare, "writeback_limit") == f"{limit}\n"


@pytest.mark.parametrize(("text", "limit"), LIMITS.items())
def test_writeback_limit_enable_shows_0_or_1(
    bare: Device, text: str, limit: int
) -> None:
    store(bare, "writeback_limit_enable", text)

    assert show(bare, "writeback_limit_enable") == f"{int(limit > 0)}\n"


@pytest.mark.parametrize("text", ["1", "32", "+5", "010", "4294967295", "7\n"])
def test_writeback_batch_size_is_any_number_of_32_bits_but_0(
    bare: Device, text: str
) -> None:
    store(bare, "writeback_batch_size", text)

    assert show(bare, "writeback_batch_size") == f"{int(text)}\n"


@pytest.mark.parametrize("text", REFUSED_NUMBERS)
@pytest.mark.parametrize(
    "name", ["writeback_limit", "writeback_limit_enable", "writeback_batch_size"]
)
def test_what_is_no_number_is_refused(bare: Device, name: str, text: str) -> None:
    store(bare, name, "5")

    refuse(bare, name, text, errno.EINVAL)


@pytest.mark.parametrize("text", ["0", "4294967296"])
def test_writeback_batch_size_refuses(bare: Device, text: str) -> None:
    refuse(bare, "writeback_batch_size", text, errno.EINVAL)


@pytest.mark.parametrize(
    ("text", "shown"),
    [*((text, "1\n") for text in TRUE), *((text, "0\n") for text in FALSE)],
)
def test_compressed_writeback_goes_by_the_first_letters(
    bare: Device, text: str, shown: str
) -> None:
    store(bare, "compressed_writeback", "0" if shown == "1\n" else "1")

    store(bare, "compressed_writeback", text)

    assert show(bare, "compressed_writeback") == shown


@pytest.mark.parametrize("text", ["", "\n", "2", "o", "O", "ox", "abc", " 1", "-1"])
def test_compressed_writeback_refuses(bare: Device, text: str) -> None:
    refuse(bare, "compressed_writeback", text, errno.EINVAL)


@pytest.mark.parametrize(("text", "number"), [("1", errno.EBUSY), ("x", errno.EINVAL)])
def test_compressed_writeback_is_frozen_once_there_is_a_disksize(
    device: Device, text: str, number: int
) -> None:
    refuse(device, "compressed_writeback", text, number)


def test_a_reset_keeps_the_settings(device: Device) -> None:
    device.reset()
    names = {
        "writeback_limit": "9\n",
        "writeback_limit_enable": "1\n",
        "writeback_batch_size": "5\n",
        "compressed_writeback": "1\n",
    }
    for name, text in names.items():
        store(device, name, text)

    store(device, "reset", "1")

    assert {name: show(device, name) for name in names} == names
    assert show(device, "backing_dev") == "none\n"
