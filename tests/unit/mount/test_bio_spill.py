"""zramfs.mount.bio with a backing device: nothing wrong is read, nothing is lost."""

import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.pages import make_page
from tests.unit.mount.scripted_io import HANG, SHORT, ScriptedIo
from tests.unit.mount.spilled_rig import attach_file
from tests.verify import verify
from zramfs.core.attributes import ATTRIBUTES
from zramfs.core.device import Device
from zramfs.core.lifecycle import State
from zramfs.errors import SpillReadFailed, ZramError
from zramfs.mount.bio import Bio
from zramfs.mount.paths import PathStat
from zramfs.mount.spill_stat import show_spill
from zramfs.spill import Spill
from zramfs.units import PAGE_SIZE

NR_SLOTS: Final = 64
NR_BLOCKS: Final = 48


@pytest.fixture
def spill(tmp_path: Path, bare: Device) -> Spill:
    return attach_file(bare, tmp_path / "spill", NR_BLOCKS)


@pytest.fixture
def spilling(spill: Spill, bare: Device) -> Device:
    """A device of 64 pages with a backing device of 48."""
    assert spill.nr_blocks == NR_BLOCKS
    bare.set_disksize(NR_SLOTS * PAGE_SIZE)
    return bare


@pytest.fixture
def io(spilling: Device) -> Iterator[ScriptedIo]:
    io = ScriptedIo()
    yield io
    io.land()
    assert not spilling.store.blocks._pins if spilling.state is State.READY else True


@pytest.fixture(autouse=True)
def short_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut runs into writes of 8 pages: what is done to a part of one is seen."""
    monkeypatch.setattr("zramfs.mount.write_back._WRITE_PAGES", 8)


@pytest.fixture
def bio(spilling: Device, io: ScriptedIo) -> Bio:
    bio = Bio(spilling, PathStat())
    bio.io = io
    return bio


def page(index: int, generation: int = 0) -> bytes:
    kind = ("text", "half", "rand")[(index + generation) % 3]
    return make_page(kind, index + 1000 * generation)


async def fill(bio: Bio, indexes: range = range(NR_SLOTS)) -> None:
    for index in indexes:
        await bio.write(index * PAGE_SIZE, memoryview(page(index)))


async def write_back(bio: Bio, text: str = f"page_indexes=0-{NR_SLOTS - 1}") -> None:
    await bio.store(ATTRIBUTES["writeback"], text)


async def spill_some(bio: Bio, last: int = 31) -> None:
    await fill(bio)
    await write_back(bio, f"page_indexes=0-{last}")


async def read_page(bio: Bio, index: int) -> bytes:
    return await bio.read(index * PAGE_SIZE, PAGE_SIZE)


def change(spill: Spill, offset: int) -> None:
    with Path(spill.path).open("r+b") as file:
        file.seek(offset)
        file.write(b"!")


async def expect(bio: Bio, first: int, stop: int) -> None:
    found = await bio.read(first * PAGE_SIZE, (stop - first) * PAGE_SIZE)
    assert found == b"".join(map(page, range(first, stop)))


async def attempt(act: Awaitable[object]) -> None:
    """Await *act*, which may fail on purpose; give up on it if it hangs."""
    with trio.move_on_after(5), suppress(ZramError, OSError):
        await act


async def live(bio: Bio, io: ScriptedIo) -> None:
    """Write back, read, change, whatever fails; then see that all is right."""
    await fill(bio)
    await attempt(write_back(bio, "page_indexes=0-39"))
    await bio.write(0, memoryview(page(0)))
    for index in range(0, 40, 7):
        await attempt(expect(bio, index, index + 1))
    await attempt(expect(bio, 10, 30))
    await attempt(bio.write(39 * PAGE_SIZE + 5, memoryview(b"abc")))
    io.land()
    await wait_all_tasks_blocked()
    io.faults = {}
    for index in range(39):
        await expect(bio, index, index + 1)


def run_with(act: Callable[[], Awaitable[None]]) -> None:
    """Run *act*, which must not hang."""

    async def main() -> None:
        with trio.fail_after(10):
            await act()

    trio.run(main)


def test_written_back_pages_are_read(bio: Bio, spilling: Device) -> None:
    async def act() -> None:
        await spill_some(bio)

        assert spilling.bd_stat().bd_count == 32
        for index in range(NR_SLOTS):
            assert await read_page(bio, index) == page(index)
        assert spilling.bd_stat().bd_reads == 32
        assert spilling.bd_stat().bd_count == 32

    run_with(act)


def test_a_large_read_takes_adjacent_blocks_together(
    bio: Bio, io: ScriptedIo, spilling: Device
) -> None:
    async def act() -> None:
        await spill_some(bio)
        before = io.nr_started
        found = await bio.read(PAGE_SIZE // 2, 40 * PAGE_SIZE)

        expected = b"".join(map(page, range(41)))
        assert found == expected[PAGE_SIZE // 2 :][: 40 * PAGE_SIZE]
        # 32 pages, by size in three groups, 16 to a read.
        assert io.nr_started - before < 12
        assert spilling.bd_stat().bd_reads == 32

    run_with(act)


@pytest.mark.parametrize(
    ("offset", "length"), [(100, 50), (PAGE_SIZE - 10, 20), (5, 3 * PAGE_SIZE)]
)
def test_an_unaligned_write_changes_written_back_pages(
    bio: Bio, spilling: Device, offset: int, length: int
) -> None:
    async def act() -> None:
        await spill_some(bio)
        await bio.write(offset, memoryview(b"x" * length))

        expected = bytearray(b"".join(map(page, range(5))))
        expected[offset : offset + length] = b"x" * length
        assert await bio.read(0, 5 * PAGE_SIZE) == expected
        nr_pages = (offset + length - 1) // PAGE_SIZE + 1
        assert spilling.bd_stat().bd_count == 32 - nr_pages

    run_with(act)


def test_a_discard_zeroes_a_part_of_a_written_back_page(bio: Bio) -> None:
    async def act() -> None:
        await spill_some(bio)
        await bio.discard(100, 3 * PAGE_SIZE)

        expected = bytearray(b"".join(map(page, range(4))))
        expected[100 : 100 + 3 * PAGE_SIZE] = bytes(3 * PAGE_SIZE)
        assert await bio.read(0, 4 * PAGE_SIZE) == expected

    run_with(act)


def test_a_page_that_changes_while_its_edge_is_fetched_is_fetched_anew(
    bio: Bio, io: ScriptedIo
) -> None:
    async def act() -> None:
        await spill_some(bio)
        io.is_held = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bio.write, 10, memoryview(b"new"))
            await wait_all_tasks_blocked()
            await bio.write(0, memoryview(page(0, 1)))
            io.is_held = False
            io.land()

        expected = bytearray(page(0, 1))
        expected[10:13] = b"new"
        assert await read_page(bio, 0) == expected

    run_with(act)


def test_a_block_is_not_used_again_while_it_is_read(
    bio: Bio, io: ScriptedIo, spilling: Device
) -> None:
    async def act() -> None:
        await spill_some(bio, last=0)
        io.is_held = True
        found: list[bytes] = []

        async def read() -> None:
            found.append(await read_page(bio, 0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            await bio.discard(0, PAGE_SIZE)
            assert spilling.store.blocks.alloc(1).start == 1
            spilling.store.blocks.free(1)
            io.is_held = False
            io.land()
        assert found == [page(0)]
        assert spilling.store.blocks.alloc(1).start == 0
        spilling.store.blocks.free(0)

    run_with(act)


def test_a_cancelled_read_leaves_nothing_pinned(
    bio: Bio, io: ScriptedIo, spilling: Device
) -> None:
    async def act() -> None:
        await spill_some(bio)
        io.is_held = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bio.read, 0, 8 * PAGE_SIZE)
            nursery.start_soon(bio.write, 100, memoryview(b"x"))
            await wait_all_tasks_blocked()
            assert spilling.store.blocks._pins
            nursery.cancel_scope.cancel()

        assert not spilling.store.blocks._pins
        io.is_held = False
        io.land()
        assert await read_page(bio, 0) == page(0)

    run_with(act)


def test_a_submitted_read_ends_with_the_page_or_an_error(
    bio: Bio, io: ScriptedIo, announced: list[str]
) -> None:
    announced.append("page 3 in block")
    answers: list[bytes | Exception] = []

    async def act() -> None:
        await spill_some(bio)
        io.faults = {io.nr_started + 1: errno.EIO}
        bio.submit_read(2 * PAGE_SIZE, PAGE_SIZE, answers.append)
        bio.submit_read(3 * PAGE_SIZE, PAGE_SIZE, answers.append)
        await wait_all_tasks_blocked()

    run_with(act)

    assert answers[0] == page(2)
    assert isinstance(answers[1], SpillReadFailed)


@pytest.mark.parametrize("length", [1, 8])
def test_a_page_that_comes_back_changed_is_an_error_and_named(
    bio: Bio,
    spill: Spill,
    spilling: Device,
    announced: list[str],
    caplog: pytest.LogCaptureFixture,
    length: int,
) -> None:
    announced.append("its checksum is wrong")

    async def act() -> None:
        await spill_some(bio)
        block = spilling.store._words[3] >> 22
        change(spill, block * PAGE_SIZE + 77)
        with pytest.raises(SpillReadFailed, match=f"page 3 in block {block} of"):
            await bio.read(3 * PAGE_SIZE, length * PAGE_SIZE)
        assert await read_page(bio, 4) == page(4)
        # A page that is overwritten is not missed.
        await bio.write(3 * PAGE_SIZE, memoryview(page(3, 1)))
        assert await read_page(bio, 3) == page(3, 1)

    run_with(act)

    assert len([line for line in caplog.messages if "page 3 in block" in line]) == 1
    assert "corrupt_blocks 1\n" in show_spill(spilling)
    assert spilling.io_stat().failed_reads == 0


def test_a_device_that_became_shorter_loses_what_was_there(
    bio: Bio, spill: Spill, spilling: Device, announced: list[str]
) -> None:
    announced.append("ends after 0 bytes")

    async def act() -> None:
        await spill_some(bio)
        os.truncate(spill.path, 16 * PAGE_SIZE)
        for index in range(NR_SLOTS):
            word = spilling.store._words[index]
            if index < 32 and word >> 22 >= 16:
                with pytest.raises(SpillReadFailed, match=f"page {index} in"):
                    await read_page(bio, index)
            else:
                assert await read_page(bio, index) == page(index)

    run_with(act)

    assert "short_reads 16\n" in show_spill(spilling)


def test_requests_are_served_while_pages_are_written_back(
    bio: Bio, io: ScriptedIo, spilling: Device
) -> None:
    async def act() -> None:
        await fill(bio)
        io.is_held = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_back, bio, "page_indexes=0-31")
            await wait_all_tasks_blocked()
            await bio.write(0, memoryview(page(0, 1)))
            assert await read_page(bio, 1) == page(1)
            await bio.discard(2 * PAGE_SIZE, PAGE_SIZE)
            io.is_held = False
            io.land()

        # What was written, read or discarded meanwhile stays in memory.
        assert spilling.bd_stat().bd_count == 29
        assert await read_page(bio, 0) == page(0, 1)
        assert await read_page(bio, 1) == page(1)
        assert await read_page(bio, 2) == bytes(PAGE_SIZE)

    run_with(act)


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_writes_are_in_flight_than_writeback_batch_size(
    bio: Bio, io: ScriptedIo, spilling: Device, most: int
) -> None:
    async def act() -> None:
        await fill(bio)
        spilling.backing.batch_size = most
        io.is_held = True
        async with trio.open_nursery() as nursery:
            # Every second page: no two blocks of a run fail together, but runs do.
            for index in range(0, NR_SLOTS, 2):
                await bio.discard(index * PAGE_SIZE, PAGE_SIZE)
            nursery.start_soon(write_back, bio)
            await wait_all_tasks_blocked()
            while io.nr_in_flight:
                assert io.nr_in_flight <= most
                io.land()
                await wait_all_tasks_blocked()
        assert spilling.bd_stat().bd_count == NR_SLOTS // 2

    run_with(act)


def test_a_reset_waits_for_the_end_of_a_writeback(
    bio: Bio, io: ScriptedIo, spilling: Device
) -> None:
    async def act() -> None:
        await fill(bio)
        io.is_held = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_back, bio, "page_indexes=0-31")
            await wait_all_tasks_blocked()
            nursery.start_soon(bio.store, ATTRIBUTES["reset"], "1")
            await wait_all_tasks_blocked()
            assert spilling.state is State.READY
            assert spilling.bd_stat().bd_writes == 0
            io.is_held = False
            io.land()
        assert str(spilling.state) == str(State.BARE)

    run_with(act)


def test_a_writeback_that_is_cancelled_leaves_every_page_right(
    bio: Bio, io: ScriptedIo, spilling: Device
) -> None:
    async def act() -> None:
        await fill(bio)
        io.is_held = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_back, bio, "page_indexes=0-31")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        io.is_held = False
        io.land()

        assert spilling.bd_stat().bd_count == 0
        for index in range(NR_SLOTS):
            assert await read_page(bio, index) == page(index)

    run_with(act)


def test_a_write_that_ends_after_a_reset_touches_nothing(
    bio: Bio, io: ScriptedIo, spilling: Device
) -> None:
    async def act() -> None:
        await fill(bio)
        io.is_held = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_back, bio, "page_indexes=0-31")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        spilling.reset()
        io.land()

    run_with(act)


@pytest.mark.parametrize("fault", [errno.EIO, errno.ENOSPC, SHORT, HANG])
def test_whichever_transfer_fails_no_page_is_wrong(
    bio: Bio,
    io: ScriptedIo,
    spilling: Device,
    announced: list[str],
    fault: int,
) -> None:
    announced.append("page [0-9]+ in block [0-9]+ of")
    spilling.backing.batch_size = 3

    async def sweep() -> None:
        for number in count():
            io.nr_started, io.faults = 0, {number: fault}
            await live(bio, io)
            if io.nr_started <= number:
                break
            verify(spilling)
            await bio.discard(0, NR_SLOTS * PAGE_SIZE)
            assert spilling.bd_stat().bd_count == 0
            assert number < 500

    trio.run(sweep, clock=MockClock(autojump_threshold=0.01))

    assert not spilling.store.blocks._pins
    assert io.nr_started > 10


def test_a_run_that_cannot_be_sealed_stays_in_memory(
    bio: Bio, spilling: Device
) -> None:
    def refuse(*_args: object) -> bytes:
        raise MemoryError

    async def act() -> None:
        await fill(bio)
        spilling.backing.is_limited, spilling.backing.limit = True, NR_SLOTS
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("zramfs.seal.Checksum.seal", refuse)
            with pytest.raises(OSError, match="Cannot allocate memory"):
                await write_back(bio, "page_indexes=0-31")

        assert spilling.bd_stat().bd_count == 0
        assert spilling.backing.limit == NR_SLOTS
        verify(spilling)
        await write_back(bio, "page_indexes=0-31")
        assert spilling.bd_stat().bd_count == 32

    run_with(act)


def test_a_pass_ends_also_if_what_was_written_cannot_be_taken(
    bio: Bio, spilling: Device, announced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    announced.append("the end of a transfer")

    def refuse(*_args: object) -> None:
        raise ZeroDivisionError

    async def act() -> None:
        await fill(bio)
        with monkeypatch.context() as patch:
            patch.setattr("zramfs.core.writeback.Writeback.commit", refuse)
            await write_back(bio, "page_index=3")
        await write_back(bio, "page_index=4")
        assert await read_page(bio, 3) == page(3)
        spilling.store.blocks.free(0)  # nobody knows any more what it was for

    run_with(act)


def test_adjacent_pages_are_few_writes_and_many_are_in_flight(
    bio: Bio, io: ScriptedIo, spilling: Device
) -> None:
    async def act() -> None:
        for index in range(NR_SLOTS):
            await bio.write(index * PAGE_SIZE, memoryview(make_page("text", index)))
        before = io.nr_started
        await write_back(bio, "page_indexes=0-31")
        assert io.nr_started - before == 4

        io.is_held = True
        # Free blocks with used ones between them: a run each.
        for index in range(0, 32, 4):
            await bio.discard(index * PAGE_SIZE, PAGE_SIZE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_back, bio, "page_indexes=32-39")
            await wait_all_tasks_blocked()
            assert io.nr_in_flight == 8
            io.is_held = False
            io.land()
        assert spilling.bd_stat().bd_count == 32

    run_with(act)


def test_a_write_that_fails_is_done_again_page_by_page_and_no_other(
    bio: Bio, io: ScriptedIo, spilling: Device
) -> None:
    async def act() -> None:
        for index in range(NR_SLOTS):
            await bio.write(index * PAGE_SIZE, memoryview(make_page("text", index)))
        # The second of four writes, and then the third of its pages.
        first = io.nr_started
        io.faults = {first + 1: errno.EIO, first + 6: errno.EIO}
        with pytest.raises(OSError, match="Input/output error"):
            await write_back(bio, "page_indexes=0-31")

        assert io.nr_started - first == 4 + 8
        assert spilling.bd_stat().bd_count == 31
        assert spilling.counters.bd_write_errors == 1
        for index in range(NR_SLOTS):
            assert await read_page(bio, index) == make_page("text", index)

    run_with(act)


def test_a_write_of_one_page_that_fails_is_not_tried_again(
    bio: Bio, io: ScriptedIo, spilling: Device
) -> None:
    async def act() -> None:
        await fill(bio)
        before = io.nr_started
        io.faults = {before: errno.EIO}
        with pytest.raises(OSError, match="Input/output error"):
            await write_back(bio, "page_index=3")

        assert io.nr_started - before == 1
        assert spilling.counters.bd_write_errors == 1
        assert spilling.bd_stat().bd_count == 0

    run_with(act)
