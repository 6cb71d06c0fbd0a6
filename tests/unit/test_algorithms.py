"""zramfs.core.algorithms: the texts that choose and use algorithms, to the errno.

The tables are those of FACTS.md for Linux 7.3, in its order; lzo-rle there is lz4
here.
"""

import errno

import pytest

from tests.unit.conftest import NR_SLOTS
from tests.unit.passes import fill, marks, run
from zramfs.core.attributes import ATTRIBUTES
from zramfs.core.codecs import DEFAULTS, Params
from zramfs.core.device import Device
from zramfs.core.steps import Writes
from zramfs.errors import DeviceBusy, NoSuchFile, ZramError
from zramfs.units import PAGE_SIZE

DISKSIZE = NR_SLOTS * PAGE_SIZE
S32 = 1 << 31

PARAMS = {
    "": DEFAULTS,
    "\n": DEFAULTS,
    " \t ": DEFAULTS,
    "level=3": Params(level=3),
    "  level=3  ": Params(level=3),
    'level="3"': Params(level=3),
    '"level=3"': Params(level=3),
    "level=-1": Params(level=-1),
    "level=+1": Params(level=1),
    f"level={S32 - 1}": Params(level=S32 - 1),
    f"level={1 - S32}": Params(level=1 - S32),
    f"level={-S32}": DEFAULTS,  # ZCOMP_PARAM_NOT_SET
    "level=1 level=2": Params(level=2),
    "bogus=1": DEFAULTS,
    "winbits=10": DEFAULTS,
    "Level=1": DEFAULTS,
    "deflate.winbits=9": Params(winbits=9),
    f"deflate.winbits={-S32}": DEFAULTS,
    "level=6\ndeflate.winbits=-15\n": Params(level=6, winbits=-15),
    "algo=lz4 level=2": Params(level=2),
    "algo=lz4 priority=0 level=2": Params(level=2),
    "dict=/dict": Params(dictionary=b"words"),
    'dict="/a dict" level=1': Params(level=1, dictionary=b"more words"),
}
PRIORITIES = {
    "priority=0 level=1": 0,
    "priority=1 level=1": 1,
    "priority=2 level=1": 2,
    "priority=3 level=1": 3,
    "priority=3 priority=1 level=1": 1,
    "algo=lz4 level=1": 0,
    "algo=zstd level=1": 2,
    "algo=zstd priority=2 level=1": 2,
    "algo=zstd priority=3 level=1": 3,
    "algo=lz4 algo=zstd level=1": 2,
}
REFUSED_PARAMS = {
    **dict.fromkeys(
        (
            *("level", "level=", "bogus", "bogus=", "=5", "level = 3", "level= 3"),
            *("level=abc", "level=0x5", "level=3,priority=0", "level=1.5", 'level=""'),
            *("level=abc level=3", "priority=4", "priority=-1", "priority=x"),
            *("algo=zstd", "algo=lzo", "algo=lz4\\n", 'algo="lz4\n"', "algo=LZ4"),
            *("algo=lz4 priority=9", "algo=lz4 priority=1", "algo=zstd priority=0"),
            *("deflate.winbits=x", "dict="),
        ),
        errno.EINVAL,
    ),
    **dict.fromkeys(
        (
            *("level=2147483648", "level=-2147483649", "level=99999999999"),
            *("priority=99999999999", "deflate.winbits=4294967296"),
            *("level=99999999999 bogus", "level=99999999999 level=abc"),
        ),
        errno.ERANGE,
    ),
    "level=abc level=99999999999": errno.EINVAL,
}

LISTING = "lz4 lz4hc zstd deflate "
SECONDARIES = {
    "algo=zstd": {1: "zstd"},
    "algo=zstd\n": {1: "zstd"},
    "algo=lz4hc priority=2": {2: "lz4hc"},
    "priority=3 algo=deflate": {3: "deflate"},
    "  algo=zstd": {1: "zstd"},
    "algo=zstd foo=1": {1: "zstd"},
    "algo=lz4 algo=zstd": {1: "zstd"},
    'algo="zstd"': {1: "zstd"},
    'algo="zstd\n"': {1: "zstd"},
    "algo=lz4": {1: "lz4"},  # as the primary
    "algo=zstd priority=+3\n": {3: "zstd"},
    "algo=zstd priority=1 priority=2": {2: "zstd"},
}
REFUSED_SECONDARIES = {
    **dict.fromkeys(
        (
            *("", "\n", "zstd", "algo=bogus", "algo=", "algo", "foo=1", "priority=1"),
            *("algo=zstd priority=0", "algo=zstd priority=4", "algo=zstd priority=-1"),
            *("algo=zstd priority=x", "algo=zstd priority=", "algo = zstd", "=zstd"),
            *("algo=lzo", "algo=lzo-rle", "algo=842", 'algo="zstd "', "algo=[zstd]"),
            *("algo=zstd priority=x priority=1", "algo=" + "a" * 127),
            *("algo=" + "a" * 128 + " priority=4", 'algo="zstd\n\n"'),
        ),
        errno.EINVAL,
    ),
    "algo=" + "a" * 128: errno.E2BIG,
    **dict.fromkeys(
        ("algo=zstd priority=2147483648", "priority=99999999999 algo"), errno.ERANGE
    ),
}

# What a device with zstd as the only secondary does with a page of 62 and one of 4096.
RECOMPRESSIONS = {
    "": "r hn",
    "\n": "r hn",
    "type=idle": "- h",
    "type=huge": "- hn",
    "type=huge_idle": "- h",
    "type=huge type=idle": "- h",
    "type=huge type=bogus": "- hn",  # there was a valid one before
    "threshold=3624": "- hn",
    "threshold=0": "r hn",
    "threshold=+63": "- hn",
    "threshold=9999 threshold=1": "n hn",
    "max_pages=0": "- h",
    "max_pages=1": "- hn",
    "max_pages=18446744073709551615": "r hn",
    "priority=1": "r hn",
    "algo=zstd": "r hn",
    "algo=zstd priority=1": "r hn",
    "foo=bar": "r hn",
    "type=huge threshold=3000 max_pages=9 algo=zstd priority=1 foo=bar\n": "- hn",
}
REFUSED_RECOMPRESSIONS = {
    **dict.fromkeys(
        (
            *("type=bogus", "type=bogus type=idle", "type=IDLE", "idle", "type"),
            *("type=", "type=idle foo", "type = idle", "threshold=3625"),
            *("threshold=4096", "threshold=-1", "threshold=abc", "threshold=0x10"),
            *("threshold=4294967295", "threshold=abc threshold=1", "max_pages=-1"),
            *("max_pages=abc", "max_pages=", "priority=0", "priority=2", "priority=4"),
            *("priority=5", "priority=-1", "priority=x", "algo=lz4", "algo=deflate"),
            *("algo=bogus", "algo=zstd priority=2", "algo=lz4 priority=1"),
            *("type=bogus max_pages=18446744073709551616", 'algo="zstd\n"'),
        ),
        errno.EINVAL,
    ),
    **dict.fromkeys(
        (
            *("threshold=4294967296", "max_pages=18446744073709551616"),
            *("priority=2147483648", "threshold=3625 priority=99999999999"),
            *("max_pages=18446744073709551616 type=bogus",),
        ),
        errno.ERANGE,
    ),
}


def read_file(path: str) -> bytes:
    files = {"/dict": b"words", "/a dict": b"more words", "/empty": b""}
    if path not in files:
        raise NoSuchFile(path)
    return files[path]


@pytest.fixture
def bare(bare: Device) -> Device:
    """A device without a disksize that can read dictionaries."""
    bare.files._read_file = read_file
    return bare


def store(device: Device, name: str, text: str) -> None:
    run(ATTRIBUTES[name].store(device, text))


def listing(device: Device) -> str:
    show = ATTRIBUTES["recomp_algorithm"].show
    assert show
    return show(device)


def settings(device: Device) -> tuple[list[str | None], list[Params], str]:
    stored = marks(device) if device.disksize else ""
    return list(device.config.algorithms), list(device.config.params), stored


def refuse(device: Device, name: str, text: str, number: int) -> None:
    """Store what must be refused; nothing may change."""
    before = settings(device)
    with pytest.raises(ZramError, match=r".") as caught:
        store(device, name, text)

    assert caught.value.errno == number
    assert settings(device) == before


@pytest.mark.parametrize(("text", "params"), PARAMS.items())
def test_algorithm_params_replaces_all_parameters(
    bare: Device, text: str, params: Params
) -> None:
    bare.set_params(0, Params(level=99, dictionary=b"old", winbits=9))

    store(bare, "algorithm_params", text)

    assert list(bare.config.params) == [params, DEFAULTS, DEFAULTS, DEFAULTS]


@pytest.mark.parametrize(("text", "priority"), PRIORITIES.items())
def test_algorithm_params_finds_the_algorithm(
    bare: Device, text: str, priority: int
) -> None:
    bare.set_algorithm(2, "zstd")
    bare.set_algorithm(3, "zstd")

    store(bare, "algorithm_params", text)

    chosen = [
        index for index, params in enumerate(bare.config.params) if params.level == 1
    ]
    assert chosen == [priority]


@pytest.mark.parametrize(("text", "number"), REFUSED_PARAMS.items())
def test_algorithm_params_refuses(bare: Device, text: str, number: int) -> None:
    bare.set_params(0, Params(level=7))

    refuse(bare, "algorithm_params", text, number)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("dict=/missing", errno.ENOENT),
        ("priority=0 level=1 dict=/missing", errno.ENOENT),
        ("level=1 dict=/empty", errno.EINVAL),
    ],
)
def test_a_dictionary_that_cannot_be_read_leaves_the_defaults(
    bare: Device, text: str, number: int
) -> None:
    bare.set_params(0, Params(level=7))
    bare.set_params(1, Params(level=8))
    with pytest.raises(ZramError, match=r".") as caught:
        store(bare, "algorithm_params", text)

    assert caught.value.errno == number
    assert list(bare.config.params[:2]) == [DEFAULTS, Params(level=8)]


def test_a_dictionary_comes_too_late_for_a_device_initialised_meanwhile(
    bare: Device,
) -> None:
    steps = ATTRIBUTES["algorithm_params"].store(bare, "dict=/dict")
    assert steps
    work = next(steps)
    assert not isinstance(work, Writes)
    assert work
    work.run()
    assert next(steps) is work
    bare.set_disksize(DISKSIZE)

    with pytest.raises(DeviceBusy, match="initialised"):
        next(steps)
    assert bare.config.params[0] == DEFAULTS


def test_a_relative_dictionary_is_one_of_the_writers_directory(bare: Device) -> None:
    bare.files.cwd = "/"

    store(bare, "algorithm_params", "dict=dict")

    assert bare.config.params[0].dictionary == b"words"


@pytest.mark.parametrize("text", PARAMS)
def test_algorithm_params_is_frozen_after_init(bare: Device, text: str) -> None:
    bare.set_disksize(DISKSIZE)

    refuse(bare, "algorithm_params", text, errno.EBUSY)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("level", errno.EINVAL),
        ("level=abc", errno.EINVAL),
        ("level=99999999999", errno.ERANGE),
        # What needs the device to be judged comes after its state.
        ("priority=4", errno.EBUSY),
        ("algo=bogus", errno.EBUSY),
        ("dict=/missing", errno.EBUSY),
    ],
)
def test_algorithm_params_is_parsed_before_the_state_is_looked_at(
    bare: Device, text: str, number: int
) -> None:
    bare.set_disksize(DISKSIZE)

    refuse(bare, "algorithm_params", text, number)


@pytest.mark.parametrize(("text", "chosen"), SECONDARIES.items())
def test_recomp_algorithm_chooses_a_secondary(
    bare: Device, text: str, chosen: dict[int, str]
) -> None:
    store(bare, "recomp_algorithm", text)

    assert bare.config.algorithms == [
        "lz4",
        *(chosen.get(index) for index in (1, 2, 3)),
    ]


@pytest.mark.parametrize("text", SECONDARIES)
def test_recomp_algorithm_is_frozen_after_init(bare: Device, text: str) -> None:
    bare.set_disksize(DISKSIZE)

    refuse(bare, "recomp_algorithm", text, errno.EBUSY)


@pytest.mark.parametrize("initialised", [False, True])
@pytest.mark.parametrize(("text", "number"), REFUSED_SECONDARIES.items())
def test_recomp_algorithm_refuses(
    bare: Device, text: str, number: int, *, initialised: bool
) -> None:
    bare.set_algorithm(2, "deflate")
    if initialised:
        bare.set_disksize(DISKSIZE)

    refuse(bare, "recomp_algorithm", text, number)


def test_secondaries_are_listed_by_priority(bare: Device) -> None:
    assert listing(bare) == ""

    store(bare, "recomp_algorithm", "algo=deflate priority=3")
    assert listing(bare) == "#3: lz4 lz4hc zstd [deflate] \n"

    store(bare, "recomp_algorithm", "algo=lz4")
    assert listing(bare) == (
        "#1: [lz4] lz4hc zstd deflate \n#3: lz4 lz4hc zstd [deflate] \n"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [("recomp_algorithm", "algo=zstd"), ("algorithm_params", "priority=1")],
)
def test_choosing_again_forgets_the_parameters(
    bare: Device, name: str, text: str
) -> None:
    store(bare, "recomp_algorithm", "algo=zstd")
    store(bare, "algorithm_params", "priority=1 level=9")
    assert bare.config.params[1] == Params(level=9)

    store(bare, name, text)

    assert bare.config.params[1] == DEFAULTS


@pytest.fixture
def device(bare: Device) -> Device:
    """A device with one secondary algorithm and two pages."""
    bare.set_algorithm(1, "zstd")
    bare.set_disksize(DISKSIZE)
    fill(bare, "text", "rand")
    return bare


@pytest.mark.parametrize(("text", "expected"), RECOMPRESSIONS.items())
def test_recompress_does_what_its_text_says(
    device: Device, text: str, expected: str
) -> None:
    store(device, "recompress", text)

    assert marks(device) == expected


@pytest.mark.parametrize(("text", "number"), REFUSED_RECOMPRESSIONS.items())
def test_recompress_refuses(device: Device, text: str, number: int) -> None:
    refuse(device, "recompress", text, number)


@pytest.mark.parametrize("text", RECOMPRESSIONS)
def test_recompress_needs_a_disksize(bare: Device, text: str) -> None:
    bare.set_algorithm(1, "zstd")

    refuse(bare, "recompress", text, errno.EINVAL)


@pytest.mark.parametrize("text", ["", "type=huge", "priority=1", "max_pages=0"])
def test_recompress_needs_an_algorithm(bare: Device, text: str) -> None:
    bare.set_algorithm(2, "zstd")
    bare.set_disksize(DISKSIZE)

    refuse(bare, "recompress", text, errno.EINVAL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "r h"),
        ("priority=1", "r h"),
        ("algo=zstd", "r h"),
        ("algo=zstd priority=3", "r hn"),
        ("priority=2", "n hn"),
        ("algo=deflate", "n hn"),
    ],
)
def test_recompress_uses_the_algorithm_of_least_priority_that_is_meant(
    bare: Device, text: str, expected: str
) -> None:
    bare.set_algorithm(1, "zstd")
    bare.set_algorithm(2, "deflate")
    if "3" in text:
        bare.set_algorithm(3, "zstd")
    bare.set_disksize(DISKSIZE)
    fill(bare, "text", "rand")

    store(bare, "recompress", text)

    assert marks(bare) == expected


@pytest.mark.parametrize("name", ["recompress", "idle"])
def test_a_pass_is_work_in_steps(device: Device, name: str) -> None:
    steps = ATTRIBUTES[name].store(device, "type=huge" if name != "idle" else "all")

    assert steps
    assert marks(device) == "- h"
    run(steps)
    assert marks(device) != "- h"
