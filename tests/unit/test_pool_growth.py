"""zramfs.core.pool and device: what goes on when the system has no memory left."""

import pytest

from tests.pages import make_page
from tests.unit.conftest import NR_SLOTS
from tests.unit.requests import discard, write_page
from tests.verify import verify
from zramfs.core.device import Device
from zramfs.core.pool import HUGE_CLASS, Pool
from zramfs.errors import MemoryShort, WriteFailed
from zramfs.memory import MemFile
from zramfs.units import PAGE_SIZE


class System:
    """A system that lets a pool have up to *most* pages, a few at a time."""

    def __init__(self, most: int, at_once: int = 1) -> None:
        self.most = most
        self.at_once = at_once
        self.asked: list[int] = []

    def admit(self, nr_pages: int) -> int:
        self.asked.append(nr_pages)
        return min(self.most, nr_pages + self.at_once - 1)


@pytest.fixture
def system(bare: Device) -> System:
    """The system of a device of 64 pages, which has memory for 3."""
    system = System(3)
    assert isinstance(bare._memory, MemFile)
    bare._memory.admit = system.admit
    bare.set_disksize(NR_SLOTS * PAGE_SIZE)
    return system


def pool(device: Device) -> Pool:
    return device.store._pool


def fill(device: Device, name: str = "rand") -> int:
    """Write pages until one fails; return how many did not."""
    for index in range(NR_SLOTS):
        try:
            write_page(device, index, name)
        except WriteFailed:
            return index
    raise AssertionError("there was memory for all")


def test_a_pool_asks_before_it_grows(bare: Device, system: System) -> None:
    for index in range(3):
        write_page(bare, index, "rand")

    assert system.asked == [1, 2, 3]


def test_it_does_not_ask_again_for_what_was_granted(
    bare: Device, system: System
) -> None:
    system.most, system.at_once = 100, 4
    for index in range(9):
        write_page(bare, index, "rand")

    assert system.asked == [1, 5, 9]


@pytest.mark.usefixtures("system")
def test_without_memory_a_write_fails_and_the_old_page_is_intact(
    bare: Device,
) -> None:
    write_page(bare, 10, "half")
    nr_written = fill(bare)

    with pytest.raises(WriteFailed, match="no memory for 4 pages"):
        write_page(bare, 10, "rand")

    assert nr_written == 2
    assert bare.read(10 * PAGE_SIZE, PAGE_SIZE) == make_page("half", 10)
    assert bare.mm_stat().mem_used_total == 3 * PAGE_SIZE


@pytest.mark.parametrize("name", ["rand", "half"])
def test_a_place_that_was_not_granted_is_not_used(
    bare: Device, system: System, name: str
) -> None:
    fill(bare, name)
    for _ in range(5):
        with pytest.raises(WriteFailed):
            write_page(bare, NR_SLOTS - 1, name)
    system.most = 4
    write_page(bare, NR_SLOTS - 1, name)

    verify(bare)
    assert bare.mm_stat().mem_used_total == 4 * PAGE_SIZE


def test_a_hole_of_a_whole_page_that_was_not_granted_stays_a_hole(
    bare: Device, system: System
) -> None:
    fill(bare)
    discard(bare, 0, 1)
    system.most = 0
    pool(bare)._admitted = 0

    with pytest.raises(MemoryShort):
        pool(bare).alloc(HUGE_CLASS)

    verify(bare)
    system.most = 3
    write_page(bare, 40, "rand")


def test_what_needs_no_memory_goes_on_without(bare: Device, system: System) -> None:
    nr_written = fill(bare, "half")
    discard(bare, 0, 1)

    write_page(bare, nr_written + 1, "half")  # fits into the hole
    write_page(bare, nr_written + 2, "zero")
    discard(bare, 1, 1)

    index = nr_written + 1
    assert bare.read(index * PAGE_SIZE, PAGE_SIZE) == make_page("half", index)
    assert system.asked[-1] == 4


def test_memory_that_was_given_back_is_asked_for_again(
    bare: Device, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zramfs.core.pool._MOST_UNASKED", 2)
    system.most, system.at_once = 100, 50
    for index in range(20):
        write_page(bare, index, "rand")
    discard(bare, 0, 20)
    system.asked.clear()
    for index in range(3):
        write_page(bare, index, "rand")

    assert system.asked == [3]
