"""Whichever transfer of the real kind fails: no page is wrong, none leaks a block."""

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.pages import make_page
from tests.unit.mount import wires
from tests.unit.mount.faults import END, LATE, REFUSED, SHORT, Faults
from tests.unit.mount.rig import Rig, opened_rig
from tests.unit.mount.spilled_rig import attach_file
from tests.unit.mount.wires import Reply
from tests.verify import verify
from zramfs.core.attributes import ATTRIBUTES
from zramfs.core.device import Device
from zramfs.errors import ZramError
from zramfs.mount import spill_io
from zramfs.mount.spill_io import SpillIo
from zramfs.spill import Spill
from zramfs.units import PAGE_SIZE, PageIndex

NR_SLOTS: Final = 32
NR_IOCBS: Final = 32
SPILLED: Final = 22
"""Pages from 0 on that are written back together; the one behind them is alone."""

FAULTS: Final = {
    "EIO": (errno.EIO,),
    "ENOSPC": (errno.ENOSPC,),
    "EIO-twice": (errno.EIO, errno.EIO),
    "short": (SHORT,),
    "short-EIO": (SHORT, errno.EIO),
    "end": (END, END),
    "late": (LATE,),
    "hangs": (LATE,),
}
OF_THE_KERNEL: Final = {
    "waits-EIO": (errno.EAGAIN, errno.EIO),
    "refused": (REFUSED,),
    "refused-EIO": (REFUSED, errno.EIO),
}


def page(index: int) -> bytes:
    return make_page(("text", "half", "rand")[index % 3], index)


@pytest.fixture(params=[NR_IOCBS, 0], ids=["kernel", "threads"])
def io(request: pytest.FixtureRequest) -> Iterator[SpillIo]:
    io = SpillIo(request.param)
    yield io
    io.close()


@pytest.fixture
def spill(tmp_path: Path, bare: Device) -> Spill:
    spill = attach_file(bare, tmp_path / "spill", NR_SLOTS)
    bare.set_disksize(NR_SLOTS * PAGE_SIZE)
    return spill


@pytest.fixture
def life(
    io: SpillIo, spill: Spill, bare: Device, monkeypatch: pytest.MonkeyPatch
) -> Iterator["Life"]:
    """A device whose pages are written back, read and changed."""
    monkeypatch.setattr("zramfs.mount.write_back._WRITE_PAGES", 4)
    faults = Faults(io, Path(spill.path), monkeypatch)
    with opened_rig(bare) as rig:
        rig.bio.io = io
        yield Life(rig, io, spill, faults)
    faults.close()


@dataclass
class Life:
    """A lane in front of a device, and what that must hold."""

    rig: Rig
    io: SpillIo
    spill: Spill
    faults: Faults
    pages: list[bytes] = field(default_factory=list)
    nr_asked: int = 0
    """Pages asked for from the backing device."""
    nr_failed: int = 0
    """Requests that were answered with an error."""

    @property
    def device(self) -> Device:
        return self.rig.device

    def fill(self) -> None:
        """Begin anew, with no page anywhere but in memory."""
        for _ in self.device.discard(0, NR_SLOTS * PAGE_SIZE):
            pass
        assert not self.device.bd_stat().bd_count
        self.device.counters.clear()
        self.nr_asked = self.nr_failed = 0
        self.pages = [page(index) for index in range(NR_SLOTS)]
        for index, data in enumerate(self.pages):
            self.device.write(index * PAGE_SIZE, memoryview(data))

    def run(self, *, gives_up: bool) -> None:
        """Do all that transfers pages; *gives_up* on a writeback that is late."""
        trio.run(self._live, gives_up)

    async def _live(self, gives_up: bool) -> None:  # noqa: FBT001  # trio.run's way
        async with self.rig.serving(), trio.open_nursery() as nursery:
            nursery.start_soon(self.io.run)
            with trio.fail_after(10):
                await self._write_back(gives_up=gives_up)
                await self._read()
                await self._change()
                self.faults.release()
                await self._until(lambda: not self.io.nr_in_flight)
                self._check_counters()
                self.check()
                self.faults.stop()
                await self._compare()
            nursery.cancel_scope.cancel()
        self.check()

    async def _until(
        self, has_ended: Callable[[], bool], stalled: Callable[[], None] | None = None
    ) -> None:
        """Let others run; do what *stalled* says when all that is left is late.

        What was late before must not matter.
        """
        nr_held = self.faults.nr_held
        await wait_all_tasks_blocked()
        while not has_ended():
            if nr_held < self.faults.nr_held == self.io.nr_in_flight:
                (stalled or self.faults.release)()
            else:
                await self.faults.wait()
            await wait_all_tasks_blocked()

    async def _write_back(self, *, gives_up: bool) -> None:
        counters = self.device.counters
        for text in (f"page_indexes=0-{SPILLED - 1}", f"page_index={SPILLED}"):
            before = counters.bd_write_errors
            failure = await self._store(text, gives_up=gives_up)
            assert (counters.bd_write_errors > before) == (failure is not None)
        nr_settled = counters.bd_writes + counters.bd_write_errors
        assert nr_settled == SPILLED + 1 or (gives_up and self.io.nr_in_flight)
        if not self.io.nr_in_flight:
            assert self.device.bd_stat().bd_count == counters.bd_writes

    async def _store(self, text: str, *, gives_up: bool) -> ZramError | OSError | None:
        """Write pages back; return the error that there was."""
        failures: list[ZramError | OSError] = []
        ended = trio.Event()

        async def store() -> None:
            try:
                await self.rig.bio.store(ATTRIBUTES["writeback"], text)
            except (ZramError, OSError) as error:
                failures.append(error)
            finally:
                ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(store)
            stalled = nursery.cancel_scope.cancel if gives_up else None
            await self._until(ended.is_set, stalled)
        return failures[0] if failures else None

    async def _read(self) -> None:
        """Read pages one by one, and several at once."""
        ranges = [(index, index + 1) for index in (0, 1, 2, 3, 4, SPILLED, SPILLED + 1)]
        ranges += [(5, 12), (3, 8)]
        requests = [
            wires.read(unique, first * PAGE_SIZE, (stop - first) * PAGE_SIZE)
            for unique, (first, stop) in enumerate(ranges)
        ]
        for answer in await self._ask(requests, ranges):
            first, stop = ranges[answer.unique]
            if not answer.error:
                assert answer.body == b"".join(self.pages[first:stop])

    async def _change(self) -> None:
        """Change parts of pages, and bytes from one page into the next."""
        changes = [(12 * PAGE_SIZE, b"a"), (13 * PAGE_SIZE + 7, b"bcd")]
        changes += [(15 * PAGE_SIZE - 3, b"efghij"), (17 * PAGE_SIZE - 9, bytes(99))]
        requests = [
            wires.write(unique, offset, data)
            if any(data)
            else wires.fallocate(unique, offset, len(data))
            for unique, (offset, data) in enumerate(changes)
        ]
        ranges = [
            (offset // PAGE_SIZE, (offset + len(data) - 1) // PAGE_SIZE + 1)
            for offset, data in changes
        ]
        for answer in await self._ask(requests, ranges):
            if not answer.error:
                self._patch(*changes[answer.unique])

    def _patch(self, offset: int, data: bytes) -> None:
        joined = bytearray(b"".join(self.pages))
        joined[offset : offset + len(data)] = data
        starts = range(0, len(joined), PAGE_SIZE)
        self.pages = [bytes(joined[start : start + PAGE_SIZE]) for start in starts]

    async def _ask(
        self, requests: Sequence[bytes], ranges: Sequence[tuple[int, int]]
    ) -> list[Reply]:
        """Return the answers to *requests* for *ranges* of pages: done, or EIO."""
        is_spilled = self.device.store.table.is_spilled
        self.nr_asked += sum(
            is_spilled(PageIndex(index)) for pages in ranges for index in range(*pages)
        )
        answers: list[Reply] = []

        def all_answered() -> bool:
            answers.extend(self.rig.answers())
            return len(answers) == len(requests)

        for request in requests:
            self.rig.kernel.send(request)
        await self._until(all_answered)
        assert sorted(answer.unique for answer in answers) == [*range(len(requests))]
        assert {answer.error for answer in answers} <= {0, -errno.EIO}
        self.nr_failed += sum(answer.error != 0 for answer in answers)
        return answers

    def _check_counters(self) -> None:
        """Assert that what was not transferred is counted, and that it is little."""
        counters = self.device.counters
        assert counters.bd_reads == self.nr_asked
        assert not counters.bd_corrupt_blocks
        # No fault is of both kinds.
        assert not counters.bd_read_errors or not counters.bd_short_reads
        nr_lost = counters.bd_read_errors + counters.bd_short_reads
        assert nr_lost >= self.nr_failed
        assert bool(nr_lost) == bool(self.nr_failed)
        # No fault costs more than the one page that it is about.
        assert nr_lost + counters.bd_write_errors <= self.faults.nr_happened

    async def _compare(self) -> None:
        """Read all that there is, with nothing in the way."""
        found = await self.rig.bio.read(0, NR_SLOTS * PAGE_SIZE)
        assert found == b"".join(self.pages)

    def check(self) -> None:
        """Assert that nothing is left behind by what has ended."""
        verify(self.device)
        assert not self.io.nr_in_flight
        assert not self.io._nr_queued
        assert not self.spill._nr_holds
        assert len(self.io._buffers) == spill_io._NR_READS
        assert self.io._aio is None or len(self.io._aio._free) == NR_IOCBS


def sweep(life: Life, faults: Sequence[int], *, gives_up: bool = False) -> None:
    """Let *faults* happen to each transfer in turn, until there is none for them."""
    for number in count():
        life.fill()
        life.faults.plan(number, faults)
        life.run(gives_up=gives_up)
        if not life.faults.nr_happened:
            break
    assert number > 15


@pytest.fixture(autouse=True)
def lost_pages(announced: list[str]) -> None:
    announced.append("page [0-9]+ in block [0-9]+ of")


@pytest.mark.parametrize("fault", FAULTS)
def test_whichever_transfer_fails_no_page_is_wrong(life: Life, fault: str) -> None:
    sweep(life, FAULTS[fault], gives_up=fault == "hangs")


@pytest.mark.parametrize("io", [NR_IOCBS], ids=["kernel"], indirect=True)
@pytest.mark.parametrize("fault", OF_THE_KERNEL)
def test_what_the_kernel_leaves_to_a_thread_fails_like_the_rest(
    life: Life, fault: str
) -> None:
    sweep(life, OF_THE_KERNEL[fault])
