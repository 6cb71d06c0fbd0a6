"""zramfs.mount.upkeep: compaction when it pays, and only then."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from tests.unit.requests import discard, write, write_page
from zramfs.core.device import Device
from zramfs.core.lifecycle import State
from zramfs.mount.bio import Bio
from zramfs.mount.paths import PathStat
from zramfs.mount.upkeep import keep_compact
from zramfs.units import PAGE_SIZE

NR_PAGES = 2048
MIB = 1 << 20


@pytest.fixture
def device(bare: Device) -> Device:
    """A device with room for enough waste."""
    bare.set_disksize(NR_PAGES * PAGE_SIZE)
    return bare


def kept(device: Device, then: Callable[[], Awaitable[None]]) -> None:
    """Keep *device* compact while *then* runs, on a clock that never waits."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_compact, device, Bio(device, PathStat()))
            await then()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def make_waste(device: Device, nr_pages: int) -> None:
    """Leave half of the memory of *nr_pages* pages in holes."""
    for index in range(nr_pages):
        write_page(device, index, "half")
    for index in range(0, nr_pages, 2):
        discard(device, index, 1)


async def some_looks() -> None:
    await trio.sleep(3)


def test_waste_is_compacted(device: Device) -> None:
    make_waste(device, NR_PAGES)
    before = device.mm_stat().mem_used_total

    kept(device, some_looks)

    assert device.mm_stat().mem_used_total < before * 0.51
    assert device.store.waste < MIB


def test_nothing_happens_within_the_first_second(device: Device) -> None:
    async def hardly_a_second() -> None:
        await trio.sleep(0.9)

    make_waste(device, NR_PAGES)

    kept(device, hardly_a_second)

    assert device.counters.pages_compacted == 0


def test_a_little_waste_is_left_alone(device: Device) -> None:
    make_waste(device, NR_PAGES // 8)

    kept(device, some_looks)

    assert device.counters.pages_compacted == 0


def test_full_pages_are_no_waste(device: Device) -> None:
    for index in range(0, NR_PAGES, 64):
        write_page(device, index, "rand")
        write_page(device, index + 1, "text")

    kept(device, some_looks)

    assert device.counters.pages_compacted == 0


def test_a_device_without_a_disksize_is_left_alone(bare: Device) -> None:
    kept(bare, some_looks)

    assert bare.state is State.BARE


def test_waste_after_a_reset_is_compacted_as_well(device: Device) -> None:
    async def a_second_life() -> None:
        make_waste(device, NR_PAGES)
        await trio.sleep(3)
        device.reset()
        await trio.sleep(3)
        device.set_disksize(NR_PAGES * PAGE_SIZE)
        make_waste(device, NR_PAGES)
        await trio.sleep(3)

    kept(device, a_second_life)

    assert device.counters.pages_compacted > 0


def test_what_cannot_be_compacted_is_not_tried_again(device: Device) -> None:
    class Stubborn(Bio):
        """A compaction that gives nothing back."""

        nr_passes = 0

        async def compact(self) -> None:
            Stubborn.nr_passes += 1

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            bio = Stubborn(device, PathStat())
            nursery.start_soon(keep_compact, device, bio)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()

    make_waste(device, NR_PAGES)
    trio.run(main, clock=MockClock(autojump_threshold=0))

    assert Stubborn.nr_passes == 1


def test_more_waste_than_was_left_is_compacted(device: Device) -> None:
    async def more() -> None:
        await trio.sleep(3)
        make_waste(device, NR_PAGES)
        await trio.sleep(3)

    make_waste(device, NR_PAGES // 2)
    write(device, 0, bytes(PAGE_SIZE))

    kept(device, more)

    assert device.store.waste < MIB
