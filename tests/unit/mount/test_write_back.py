"""zramfs.mount.write_back: runs whose pages are made ready by another thread."""

from collections.abc import Callable, Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.pages import make_page
from tests.unit.mount.scripted_io import ScriptedIo
from tests.unit.mount.spilled_rig import attach_memory
from tests.verify import verify
from zramfs.core.attributes import ATTRIBUTES
from zramfs.core.device import Device
from zramfs.core.steps import Work
from zramfs.memory import MemFile
from zramfs.mount.bio import Bio
from zramfs.mount.paths import PathStat
from zramfs.units import PAGE_SIZE

NR_SLOTS = 128
RUN = 16


class Beside:
    """Work that is done when it is waited for; *meanwhile* is done just before."""

    def __init__(self) -> None:
        self.nr_begun = self.nr_ended = 0
        self.meanwhile: Callable[[], None] | None = None

    def begin(self, work: Work) -> Callable[[], None]:
        self.nr_begun += 1

        def wait() -> None:
            if self.meanwhile:
                meanwhile, self.meanwhile = self.meanwhile, None
                meanwhile()
            work.run()
            self.nr_ended += 1

        return wait


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Beside:
    monkeypatch.setattr("zramfs.mount.write_back._WRITE_PAGES", RUN)
    monkeypatch.setattr("zramfs.mount.write_back._RUN_WRITES", 1)
    return Beside()


@pytest.fixture
def device(beside: Beside) -> Iterator[Device]:
    device = Device(MemFile(), beside=beside)
    attach_memory(device, NR_SLOTS)
    device.set_disksize(NR_SLOTS * PAGE_SIZE)
    for index in range(NR_SLOTS):
        device.write(index * PAGE_SIZE, memoryview(page(index)))
    yield device
    verify(device)
    device.reset()


@pytest.fixture
def bio(device: Device) -> Bio:
    bio = Bio(device, PathStat())
    bio.io = ScriptedIo()
    return bio


def page(index: int) -> bytes:
    return make_page("text", index)


def write_back(bio: Bio, text: str = f"page_indexes=0-{NR_SLOTS - 1}") -> None:
    async def act() -> None:
        with trio.fail_after(10):
            await bio.store(ATTRIBUTES["writeback"], text)

    trio.run(act)


def read(bio: Bio, index: int) -> bytes:
    return trio.run(bio.read, index * PAGE_SIZE, PAGE_SIZE)


def test_pages_are_made_ready_by_the_other_thread(
    bio: Bio, device: Device, beside: Beside
) -> None:
    write_back(bio)

    assert beside.nr_begun == beside.nr_ended == NR_SLOTS // RUN
    assert device.bd_stat().bd_count == NR_SLOTS
    assert all(read(bio, index) == page(index) for index in range(NR_SLOTS))


def test_what_changes_before_they_are_ready_stays_in_memory(
    bio: Bio, device: Device, beside: Beside
) -> None:
    new = make_page("half", 7)

    def change() -> None:
        for index in range(NR_SLOTS - RUN, NR_SLOTS, 3):
            device.write(index * PAGE_SIZE, memoryview(new))
        for _ in device.discard((NR_SLOTS - 2) * PAGE_SIZE, PAGE_SIZE):
            pass

    beside.meanwhile = change
    write_back(bio)

    for index in range(NR_SLOTS):
        changed = index >= NR_SLOTS - RUN and (index - NR_SLOTS + RUN) % 3 == 0
        expected = new if changed else page(index)
        if index == NR_SLOTS - 2:
            expected = bytes(PAGE_SIZE)
        assert read(bio, index) == expected
    assert device.bd_stat().bd_count < NR_SLOTS


def corrupt(device: Device, index: int) -> None:
    """Make the object of a page no LZ4 block."""
    pool, word = device.store._pool, device.store._words[index]
    size = word & 8191
    pool.read((size + 15) >> 4, word >> 22, size)[:] = b"\xff" * size


def test_a_corrupt_page_keeps_no_other_in_memory(bio: Bio, device: Device) -> None:
    device.backing.is_limited, device.backing.limit = True, 1000
    corrupt(device, 5)

    write_back(bio)

    assert device.bd_stat().bd_count == NR_SLOTS - 1
    assert device.backing.limit == 1000 - (NR_SLOTS - 1)
    assert all(
        read(bio, index) == page(index) for index in range(NR_SLOTS) if index - 5
    )
    device.write(5 * PAGE_SIZE, memoryview(page(5)))


def test_a_run_of_corrupt_pages_only_is_passed_over(bio: Bio, device: Device) -> None:
    for index in range(RUN):
        corrupt(device, index)

    write_back(bio)

    assert device.bd_stat().bd_count == NR_SLOTS - RUN
    for index in range(RUN):
        device.write(index * PAGE_SIZE, memoryview(page(index)))


def test_a_pass_that_is_cancelled_gives_up_what_it_has_taken(
    bio: Bio, device: Device
) -> None:
    io = bio.io
    assert isinstance(io, ScriptedIo)
    io.is_held = True
    device.backing.batch_size = 3

    async def act() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                bio.store, ATTRIBUTES["writeback"], f"page_indexes=0-{NR_SLOTS - 1}"
            )
            await wait_all_tasks_blocked()
            assert io.nr_in_flight == 3
            nursery.cancel_scope.cancel()
        io.land()

    trio.run(act)

    assert not io.nr_in_flight
    verify(device)
    assert all(read(bio, index) == page(index) for index in range(NR_SLOTS))


def test_a_pass_that_is_cancelled_between_two_runs_leaves_none_behind(
    bio: Bio, device: Device, beside: Beside
) -> None:
    """The one that is being made ready just then was taken, and never begun."""
    device.backing.is_limited, device.backing.limit = True, 1000

    async def act() -> None:
        with trio.CancelScope() as scope:
            beside.meanwhile = scope.cancel
            await bio.store(ATTRIBUTES["writeback"], f"page_indexes=0-{NR_SLOTS - 1}")
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()

    trio.run(act)

    verify(device)
    assert device.bd_stat().bd_count + device.backing.limit == 1000
    assert all(read(bio, index) == page(index) for index in range(NR_SLOTS))
