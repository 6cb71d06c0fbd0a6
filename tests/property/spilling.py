"""A device with a backing device, and what must be on which.

The model says of each claim whether it holds: an access takes it away, and nothing
else does. What is written back it looks up in the blocks, seal and all.
"""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.backing import (
    NEVER,
    SHORT,
    FakeBackings,
    Flight,
    NeverHeardOf,
    attach,
    backing_of,
    backings_of,
    drive,
    fetch_all,
    read,
    seal_of,
    take,
    write,
)
from tests.property.model import MARKS, Model, end_early, is_same
from tests.verify import Slot, peek, verify
from zramfs.core import slots
from zramfs.core.device import Device
from zramfs.core.postprocess import Recompression
from zramfs.core.ranges import Plan
from zramfs.core.steps import Run, Writes
from zramfs.core.writeback import Scan
from zramfs.errors import (
    BackingDeviceFull,
    ReadFailed,
    WritebackLimitReached,
    ZramError,
)
from zramfs.units import PAGE_SIZE, BlockIndex

EVERYTHING = Recompression(
    mode=0, threshold=0, max_pages=None, priority=1, is_last=False
)

FAULTS = {
    "works": (),
    "EIO": (errno.EIO, errno.EIO),
    "ENOSPC": (errno.ENOSPC, errno.ENOSPC),
    "short": (SHORT, SHORT),
    "never": (NEVER,),
    "halfway": (SHORT, NEVER),
}
"""What happens to the next operations of the backing device."""


@dataclass(slots=True, eq=False)
class Watching:
    """What a pass asks to be written, as the model follows it."""

    model: "SpillModel"
    writes: Writes

    def take(self, buffer: memoryview) -> Run | None:
        return self.writes.take(buffer)

    def reload(self, run: Run, buffer: memoryview) -> None:
        self.writes.reload(run, buffer)

    def commit(self, run: Run, start: int, stop: int, seals: bytes) -> None:
        self.model.before_commit(run, range(start, stop))
        self.writes.commit(run, start, stop, seals)
        self.model.after_commit()

    def fail(self, run: Run, start: int, stop: int, error: ZramError | OSError) -> None:
        self.model.lose(run, range(start, stop))
        self.writes.fail(run, start, stop, error)


@dataclass(slots=True, eq=False)
class Reading:
    """A page that is being read."""

    plan: Plan
    page: bytes


class SpillModel(Model):
    """One device, its backing device, and what they must hold."""

    nr_blocks = 2

    def begin(self, *algorithms: str) -> None:
        self.device.backing._open = FakeBackings()
        attach(self.device, self.nr_blocks)
        self.spilled: set[int] = set()
        """Pages that are written back."""
        self.claims: dict[int, Run] = {}
        """Runs that still have a claim on a page, by page."""
        self.flights: list[tuple[Flight, Watching]] = []
        """What is being written, and for which pass."""
        self.landing: list[int] = []
        """Blocks of which it is not said yet whether they were written."""
        self.readings: list[Reading] = []
        self.writes: Watching | None = None
        self.chosen: set[int] = set()
        """Pages that the pass has chosen and not taken yet."""
        self.budget = self.device.backing.limit
        self.bd_writes = 0
        self.bd_reads = 0
        super().begin(*algorithms)

    def end_all(self) -> None:
        """End whatever is under way."""
        self.give_up()
        while self.readings:
            self.finish_read(0)
        while self.flights:
            self.land(0, "works")

    def close(self) -> None:
        self.writes = None
        super().close()

    def kill(self) -> None:
        """Let another process take over; what was in flight is not to be seen."""
        self.writes = None
        self.flights, self.readings = [], []
        self.claims, self.chosen = {}, set()
        super().kill()

    def heir(self) -> Device:
        backings = backings_of(self.device)
        backings.orphan()
        return Device(self.memory, None, backings)

    def reach_blocks(self) -> None:
        """Write all that is in flight; whose it was does not come to know."""
        for flight, _ in self.flights:
            done = flight.nr_done * PAGE_SIZE
            backing_of(self.device).write(flight.blocks, flight.data[done:])

    @contextmanager
    def failing(self, fault: str) -> Iterator[None]:
        """Have the backing device do meanwhile what *fault* says."""
        backing = backing_of(self.device)
        backing.faults = dict(enumerate(FAULTS[fault], backing.nr_operations))
        try:
            yield
        finally:
            backing.faults = {}

    def access(self, index: int) -> None:
        super().access(index)
        self.claims.pop(index, None)
        self.chosen.discard(index)

    def write(self, offset: int, data: bytes, fault: str = "works") -> None:
        """Write, unless a *fault* keeps back the rest of a page at the edge."""
        self.wanted = after = self.after_write(offset, data)
        edges = {
            index
            for index in after
            if index in self.spilled and self.reaches(index, offset, data) < PAGE_SIZE
        }
        self.bd_reads += len(edges)
        try:
            with self.failing(fault):
                assert write(self.device, offset, data) == len(data)
        except (ReadFailed, NeverHeardOf):
            assert edges
            assert FAULTS[fault]
            return
        finally:
            self.wanted = {}
        assert not edges or not FAULTS[fault]
        for index, page in after.items():
            self.access(index)
            self.spilled.discard(index)
            self.huge_pages_since += self.is_huge(page)
            self.pages[index] = page
            self.marks[index] = 0

    def read_page(self, index: int, mark: int = 0) -> None:
        """Read as the synchronous path does, and wait for what it does not have.

        Without a *mark*, the way that a request of several pages takes.
        """
        if index not in self.spilled:
            super().read_page(index, mark)
        elif mark:
            self.ask_for(index, mark)
            self.finish_read(-1)
        else:
            assert read(self.device, index * PAGE_SIZE, PAGE_SIZE) == self.page(index)
            self.bd_reads += 1
            self.access(index)

    def ask_for(self, index: int, mark: int = 0) -> None:
        """Have the synchronous path say how to read a page that is written back."""
        block = self.device.read_page(index * PAGE_SIZE, mark)
        spilled = self.device.pin_page(index * PAGE_SIZE)
        assert block == spilled.block, index
        plan = Plan(self.device.store.blocks, 0, PAGE_SIZE, [spilled], [spilled])
        self.readings.append(Reading(plan, self.page(index)))
        self.bd_reads += 1
        self.access(index)

    def begin_read(self, index: int, *, planned: bool) -> None:
        """Begin to wait for a page: as the synchronous path does, or with a plan."""
        if index in self.spilled and not planned:
            self.ask_for(index)
            return
        plan = self.device.plan_read(index * PAGE_SIZE, PAGE_SIZE)
        self.readings.append(Reading(plan, self.page(index)))
        self.bd_reads += index in self.spilled
        self.access(index)

    def finish_read(self, number: int, fault: str = "works") -> None:
        """Read what a reader waits for: what the page was when it asked, or nothing."""
        reading = self.readings[number % len(self.readings)]
        plan = reading.plan
        fails = bool(plan.spilled and FAULTS[fault])
        try:
            with self.failing(fault):
                fetched = fetch_all(self.device, plan)
        except NeverHeardOf:
            return  # it goes on waiting
        except ReadFailed:
            assert fails
        else:
            assert not fails
            assert plan.join(fetched) == reading.page
        self.readings.remove(reading)
        plan.close()

    def discard(self, first: int, nr_pages: int) -> None:
        super().discard(first, nr_pages)
        for index in range(first, first + nr_pages):
            self.claims.pop(index, None)
            self.chosen.discard(index)
            self.spilled.discard(index)

    def mark_idle(self) -> None:
        self.give_up()
        drive(self.device.mark_idle(None))
        for index, page in self.pages.items():
            kept = is_same(page) or index in self.spilled
            if not kept and not self.marks[index] & slots.NO_WB:
                self.marks[index] |= slots.IDLE

    def begin_writeback(self, mode: int, limit: int | None, scans: int = 1) -> None:
        """Begin a pass over all pages, as often as there are *scans*."""
        self.give_up()
        backing = self.device.backing
        backing.is_limited, backing.limit = limit is not None, limit or 0
        self.budget = backing.limit
        scan = Scan(start=0, stop=self.nr_slots, mode=mode)
        self.steps = self.device.writeback([scan] * scans)
        for work in self.steps:
            if work:
                assert isinstance(work, Writes)
                self.writes = Watching(self, work)
                break
        for index, slot in self.found().items():
            never = slots.SAME | slots.WB | slots.NO_WB
            if not slot.word & never and slot.word & mode == mode:
                self.marks[index] |= slots.PP_SLOT
                self.chosen.add(index)

    def take(self, nr_pages: int) -> None:
        """Take a run off, if there are pages and blocks, and the limit allows it."""
        if not self.writes:
            return
        flight = take(self.writes, nr_pages)
        if flight is None:
            return
        run = flight.run
        assert 0 < len(run.indexes) == len(run.blocks) <= nr_pages
        assert run.is_charged == self.device.backing.is_limited
        self.budget -= len(run.indexes) if run.is_charged else 0
        assert self.budget >= 0
        for index in run.indexes:
            assert self.marks[index] & slots.PP_SLOT, index
            self.claims[index] = run
        self.flights.append((flight, self.writes))

    def land(self, number: int, fault: str) -> None:
        """Write one of the runs, or fail to; or hear of a part of it, or of nothing."""
        flight, writes = landed = self.flights[number % len(self.flights)]
        self.landing = [*flight.blocks]
        with self.failing(fault), suppress(NeverHeardOf):
            flight.land(writes, backing_of(self.device))
        assert self.landing == [*flight.blocks]
        if not self.landing:
            self.flights.remove(landed)

    def before_commit(self, run: Run, numbers: Sequence[int]) -> None:
        """Follow pages that were written: those still claimed are written back."""
        self.committing = [
            index
            for index in dict.fromkeys(run.indexes[number] for number in numbers)
            if self.claims.get(index) is run
        ]
        self.wanted = {index: self.pages[index] for index in self.committing}
        self.bd_writes += len(numbers)
        for number in numbers:
            self.landing.remove(run.blocks[number])

    def after_commit(self) -> None:
        self.wanted = {}
        for index in self.committing:
            del self.claims[index]
            self.spilled.add(index)
            self.marks[index] &= ~(slots.PP_SLOT | slots.IDLE)

    def lose(self, run: Run, numbers: Sequence[int]) -> None:
        """Follow pages that could not be written: their claims end."""
        self.budget += len(numbers) if run.is_charged else 0
        for number in numbers:
            index = run.indexes[number]
            self.landing.remove(run.blocks[number])
            if self.claims.get(index) is run:
                del self.claims[index]
                self.marks[index] &= ~slots.PP_SLOT

    def finish_writeback(self) -> None:
        """Take, write and end, as a pass that nobody disturbs."""
        while self.writes:
            before = len(self.flights)
            self.take(2)
            if len(self.flights) == before:
                break
        while self.flights:
            self.land(0, "works")
        if self.writes and self.steps:
            with suppress(BackingDeviceFull, WritebackLimitReached, OSError):
                next(self.steps, None)
            self.steps = None
            self.end_pass()

    def step_recompression(self, request: Recompression) -> None:
        """As in memory; a writeback that is under way is given up for it."""
        if self.writes:
            self.give_up()
        super().step_recompression(request)

    def recompress(self) -> None:
        """Recompress all that is resident, with nothing in between."""
        self.give_up()
        drive(self.device.recompress(EVERYTHING))
        for index, slot in self.found().items():
            if index not in self.spilled:
                self.claims.pop(index, None)
                self.marks[index] = slot.word & MARKS

    def give_up(self) -> None:
        """End the pass before its end; runs may still be in flight."""
        end_early(self.steps)
        self.steps = None
        self.end_pass()

    def end_pass(self) -> None:
        self.writes = self.work = None
        self.claims, self.chosen = {}, set()
        self.unchoose()

    def leave_pass(self) -> None:
        self.give_up()
        super().leave_pass()

    def peek(self, slot: Slot) -> bytes:
        if not slot.has(slots.WB):
            return peek(self.device.store, slot)
        data = backing_of(self.device).blocks[slot.payload]
        store = self.device.store
        assert store.blocks.seal(BlockIndex(slot.payload)) == seal_of(data), slot
        if not store.spilling.compressed or slot.has(slots.HUGE):
            return data
        codec = store.codec(slot.priority)
        assert codec, slot
        return codec.decompress(data[: slot.size])

    def verify(self) -> None:
        in_flight = [block for flight, _ in self.flights for block in flight.blocks]
        pinned = {
            spilled.block for each in self.readings for spilled in each.plan.spilled
        }
        verify(
            self.device,
            in_pass=self.steps is not None,
            in_flight=in_flight,
            pinned=pinned,
        )

    def check(self) -> None:
        super().check()
        spilled = {index for index, slot in self.found().items() if slot.has(slots.WB)}
        assert spilled == self.spilled
        assert self.device.backing.limit == self.budget
        assert self.device.counters.bd_writes == self.bd_writes
        assert self.device.counters.bd_reads == self.bd_reads
        held = self.device.store.claims.held
        runs = {index: run for index, run in held.items() if isinstance(run, Run)}
        assert runs == self.claims
