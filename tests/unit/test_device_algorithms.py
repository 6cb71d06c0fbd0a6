"""zramfs.core.device: algorithms, parameters and idle pages over a device's life."""

from collections.abc import Callable

import pytest

from tests.unit.passes import fill, marks, opened, request, run
from tests.unit.requests import write_page
from tests.verify import used_slots
from zramfs.core.codecs import DEFAULTS, Params
from zramfs.core.device import Device
from zramfs.core.lifecycle import State
from zramfs.errors import InvalidValue, NotInitialised, OutOfMemory
from zramfs.units import PAGE_SIZE

DISKSIZE = 64 * PAGE_SIZE
NEW = (["lz4", None, None, None], [DEFAULTS] * 4)


def chosen(device: Device) -> tuple[list[str | None], list[Params]]:
    return list(device.config.algorithms), list(device.config.params)


@pytest.fixture
def configured(bare: Device) -> Device:
    """A device without a disksize of which everything has been chosen."""
    bare.set_mem_limit(1 << 20)
    for priority, name in enumerate(["deflate", "zstd", "lz4hc", "lz4"]):
        bare.set_algorithm(priority, name)
        bare.set_params(priority, Params(level=1))
    return bare


def test_a_new_device_has_one_algorithm_and_no_parameters(bare: Device) -> None:
    assert chosen(bare) == NEW


def test_an_algorithm_forgets_the_parameters_of_the_one_before(
    configured: Device,
) -> None:
    configured.set_algorithm(1, "deflate")

    assert configured.config.algorithms == ["deflate", "deflate", "lz4hc", "lz4"]
    assert list(configured.config.params) == [
        Params(level=1),
        DEFAULTS,
        *[Params(level=1)] * 2,
    ]


@pytest.mark.parametrize("priority", range(4))
def test_a_refused_level_restores_algorithms_and_keeps_mem_limit(
    configured: Device, priority: int
) -> None:
    configured.set_params(priority, Params(level=-200000))

    with pytest.raises(InvalidValue, match="has no level -200000"):
        configured.set_disksize(DISKSIZE)

    assert (configured.state, configured.disksize) == (State.BARE, 0)
    assert chosen(configured) == NEW
    assert configured.mem_limit == 1 << 20
    configured.set_disksize(DISKSIZE)
    assert configured.disksize == DISKSIZE


def test_a_refused_dictionary_is_a_refused_parameter(bare: Device) -> None:
    bare.set_algorithm(0, "zstd")
    bare.set_params(0, Params(dictionary=b"\x37\xa4\x30\xec and no more"))

    with pytest.raises(InvalidValue, match="zstd refuses the dictionary"):
        bare.set_disksize(DISKSIZE)

    assert chosen(bare) == NEW


def test_memory_that_cannot_be_had_keeps_what_was_chosen(configured: Device) -> None:
    before = chosen(configured)

    with pytest.raises(OutOfMemory, match="cannot map"):
        configured.set_disksize(1 << 60)

    assert chosen(configured) == before


@pytest.mark.parametrize("initialised", [False, True])
def test_a_reset_forgets_what_was_chosen(
    configured: Device, *, initialised: bool
) -> None:
    if initialised:
        configured.set_disksize(DISKSIZE)
    configured.reset()

    assert chosen(configured) == NEW
    assert configured.mem_limit == 0


def test_parameters_are_used(bare: Device) -> None:
    bare.set_algorithm(0, "zstd")
    bare.set_params(0, Params(level=-100000))
    bare.set_disksize(DISKSIZE)

    write_page(bare, 0, "text")

    assert bare.mm_stat().huge_pages == 1


def test_parameters_of_a_secondary_are_used(bare: Device) -> None:
    bare.set_algorithm(1, "zstd")
    bare.set_params(1, Params(level=-100000))
    bare.set_disksize(DISKSIZE)
    fill(bare, "text")

    run(bare.recompress(request()))

    assert marks(bare) == "n"


def test_an_algorithm_is_found_by_its_name(configured: Device) -> None:
    configured.set_algorithm(3, "zstd")

    assert configured.config.find("deflate", 0) == 0
    assert configured.config.find("zstd", 0) == 1
    assert configured.config.find("zstd", 2) == 3


@pytest.mark.parametrize(("name", "lowest"), [("deflate", 1), ("lz4", 0), ("842", 0)])
def test_an_algorithm_that_is_not_chosen_is_not_found(
    configured: Device, name: str, lowest: int
) -> None:
    configured.set_algorithm(3, "zstd")

    with pytest.raises(InvalidValue, match=f"{name} is not configured"):
        configured.config.find(name, lowest)


@pytest.fixture
def aged(bare: Device) -> Device:
    """Pages accessed at 10, 20 and 30; it is 30 now."""
    opened(bare, "lz4")
    for index in range(3):
        bare.tick(10 * (index + 1))
        write_page(bare, index, "text")
    return bare


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [
        (None, "i i i"),
        (0, "i i -"),
        (9, "i i -"),
        (10, "i - -"),
        (19, "i - -"),
        (20, "- - -"),
        (29, "- - -"),
        (30, "i i i"),  # as long as the machine is up: 7.3 takes it for all
        (31, "- - -"),
        ((1 << 32) - 1, "- - -"),
    ],
)
def test_pages_are_marked_by_their_age(
    aged: Device, age_s: int | None, expected: str
) -> None:
    run(aged.mark_idle(age_s))

    assert marks(aged) == expected


@pytest.mark.parametrize(
    ("age_s", "expected"), [(0, "i i -"), (20, "- - -"), (30, "i i i"), (31, "i i i")]
)
def test_younger_pages_are_unmarked_unless_nothing_can_be_so_old(
    aged: Device, age_s: int, expected: str
) -> None:
    run(aged.mark_idle(None))

    run(aged.mark_idle(age_s))

    assert marks(aged) == expected


LONG_WORK: list[Callable[[Device], object]] = [
    lambda device: device.mark_idle(None),
    lambda device: device.mark_idle(0),
    lambda device: device.recompress(request()),
]


@pytest.mark.parametrize("work", LONG_WORK, ids=["all", "aged", "recompress"])
def test_long_work_needs_a_disksize(
    bare: Device, work: Callable[[Device], object]
) -> None:
    bare.tick(5)

    with pytest.raises(NotInitialised, match="no disksize"):
        work(bare)


def test_codecs_are_known_by_priority(bare: Device) -> None:
    opened(bare, "lz4", "zstd")
    codecs = [bare.store.codec(priority) for priority in range(5)]

    assert [codec and codec.name for codec in codecs] == ["lz4", "zstd", *[None] * 3]
    assert used_slots(bare.store) == []
