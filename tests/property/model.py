"""A device and the dict of pages that it must agree with.

Whatever is done to the device through the model, `check` finds out afterwards
whether all pages and counters are what they must be, by peeking: a read would take
marks off. With `WatchedPool` it is found out in between, too: at whatever point a
crash comes, each slot must have its old page or its new one.
"""

import os
import re
from collections.abc import Generator
from contextlib import suppress
from typing import ClassVar, Final

from tests.pages import make_page
from tests.property.passes import Outcome, is_eligible
from tests.verify import Slot, peek, used_slots, verify
from zramfs.core import slots
from zramfs.core.codecs import Stored, open_codec
from zramfs.core.device import Device
from zramfs.core.pool import HUGE_CLASS, Live, Pool, class_of
from zramfs.core.postprocess import Recompression
from zramfs.core.steps import Steps, Work
from zramfs.errors import WriteFailed
from zramfs.memory import MemFile
from zramfs.units import PAGE_SHIFT, PAGE_SIZE, page_align

ZERO = bytes(PAGE_SIZE)

DONE: Final = object()
"""What follows the last step of a pass."""

KINDS = {
    "zeros": "zero",
    "fill": "same:1122334455667788",
    "ones": "same:ffffffffffffffff",
    "text": "text",
    "fits": "part:3587",  # 3624 bytes of lz4, the most that is kept compressed
    "huge": "part:3588",  # 3625
    "noise": "rand",
}


MARKS: Final = (
    slots.IDLE
    | slots.INCOMPRESSIBLE
    | slots.PRIORITY_MASK
    | slots.PP_SLOT
    | slots.NO_WB
)
"""What is said of a page in its slot, but for what it is."""


def end_early(steps: Steps | None) -> None:
    """End a pass before its end, and now: a traceback may hold it for long."""
    if isinstance(steps, Generator):
        steps.close()


def is_same(page: bytes) -> bool:
    return page == page[:8] * (PAGE_SIZE // 8)


class Model:
    """One device, and what it must hold."""

    watched: ClassVar["Model | None"] = None
    """The model whose pool is watched; None outside of an example."""

    def __init__(self, nr_slots: int, *algorithms: str) -> None:
        self.nr_slots = nr_slots
        self.memory = MemFile()
        self.device = Device(self.memory)
        self.begin(*algorithms)

    def begin(self, *algorithms: str) -> None:
        """Begin a life of the device with these algorithms by priority."""
        self.pages: dict[int, bytes] = {}
        self.marks: dict[int, int] = {}
        self.work: Work | None = None
        """What the pass wants to be done before it goes on."""
        self.choosing = False
        """Whether somebody else than a pass chooses pages and claims them."""
        self.wanted: dict[int, bytes] = {}
        self.steps: Steps | None = None
        """The pass that is under way."""
        self.notify_free = self.huge_pages_since = 0
        self.codecs = [open_codec(name) for name in algorithms]
        self.codec = self.codecs[0]
        for priority, name in enumerate(algorithms):
            self.device.set_algorithm(priority, name)
        self.device.tick(1)
        self.device.set_disksize(self.nr_slots * PAGE_SIZE)
        Model.watched = self

    def reset(self, *algorithms: str) -> None:
        Model.watched = None
        self.steps = None
        self.device.reset()
        verify(self.device)
        self.begin(*algorithms)

    def close(self) -> None:
        Model.watched = None
        end_early(self.steps)
        self.steps = None
        with suppress(BufferError):  # after a failure its traceback holds views
            self.device.reset()
        os.close(self.memory.fd)

    def kill(self) -> None:
        """Let another process take the device over, whatever is under way."""
        steps, self.steps, self.work = self.steps, None, None
        self.memory = MemFile(self.memory.fd)
        try:
            self.device = self.heir()
            self.verify()
        finally:
            end_early(steps)  # not before: it takes off the marks that the dead left
        self.device.tick(1)
        self.unchoose()

    def heir(self) -> Device:
        """Return the device in the hands of who takes over."""
        return Device(self.memory)

    def page(self, index: int) -> bytes:
        """Return what page *index* reads as."""
        return self.pages.get(index, ZERO)

    def found(self) -> dict[int, Slot]:
        return {slot.index: slot for slot in used_slots(self.device.store)}

    def write_page(self, index: int, kind: str) -> None:
        self.write(index * PAGE_SIZE, make_page(KINDS[kind], index))

    def write(self, offset: int, data: bytes) -> None:
        """Write, and follow as far as the device came."""
        data = data[: self.nr_slots * PAGE_SIZE - offset]
        self.wanted = after = self.after_write(offset, data)
        failed = self.device.counters.failed_writes
        stop = self.nr_slots
        try:
            assert self.device.write(offset, memoryview(data)) == len(data)
        except WriteFailed as error:
            failed += 1
            _, index, *_ = re.split("[ :]", str(error))
            stop = int(index)
            assert self.is_full_for(after[stop])
        self.wanted = {}
        assert self.device.counters.failed_writes == failed
        for index, page in after.items():
            if index < stop:
                self.huge_pages_since += self.is_huge(page)
                self.pages[index] = page
                self.marks[index] = 0
            if index == stop and self.reaches(index, offset, data) < PAGE_SIZE:
                self.access(index)  # it was read, to be changed in a part

    @staticmethod
    def reaches(index: int, offset: int, data: bytes) -> int:
        """Return how many bytes of the page at *index* a write goes over."""
        start = max(offset, index * PAGE_SIZE)
        return min(offset + len(data), (index + 1) * PAGE_SIZE) - start

    def access(self, index: int) -> None:
        if index in self.marks:
            self.marks[index] &= ~slots.ACCESS_CLEARS

    def after_write(self, offset: int, data: bytes) -> dict[int, bytes]:
        """Return the pages that are to be there once *data* is written."""
        first = offset // PAGE_SIZE
        indexes = range(first, (offset + len(data) - 1) // PAGE_SIZE + 1)
        joined = bytearray(b"".join(self.page(index) for index in indexes))
        start = offset - first * PAGE_SIZE
        joined[start : start + len(data)] = data
        starts = range(0, len(joined), PAGE_SIZE)
        return {
            index: bytes(joined[at : at + PAGE_SIZE])
            for index, at in zip(indexes, starts, strict=True)
        }

    def is_full_for(self, page: bytes) -> bool:
        """Whether mem_limit leaves no room for *page*."""
        if is_same(page):
            return False
        store = self.device.store
        klass = class_of(self.stored_size(page))
        slots_ = self.found().values()
        places = {slot.payload for slot in slots_ if slot.place[0] == klass}
        tail = max(places, default=-1) + 1
        size = klass << 4
        needed = page_align((tail + 1) * size) - page_align(tail * size)
        if klass == HUGE_CLASS:
            needed = PAGE_SIZE
        elif len(places) < tail and not self.steps:
            needed = 0
        return 0 < store.limit_pages < store.pool_pages + (needed >> PAGE_SHIFT)

    def read(self, offset: int, length: int, mark: int = 0) -> None:
        first = offset // PAGE_SIZE
        pages = b"".join(
            self.page(index) for index in range(first, first + length // PAGE_SIZE + 2)
        )
        pages = pages[: (self.nr_slots - first) * PAGE_SIZE]
        start = offset % PAGE_SIZE

        read = self.device.read(offset, length, mark)
        assert read == pages[start : start + length]
        self.after_read(offset, length, mark)

    def after_read(self, offset: int, length: int, mark: int) -> None:
        first = offset // PAGE_SIZE
        for index in range(first, (offset + length - 1) // PAGE_SIZE + 1):
            self.access(index)
            if index in self.marks:
                self.marks[index] |= mark

    def read_page(self, index: int, mark: int = 0) -> None:
        """Read as the synchronous path does."""
        assert self.device.read_page(index * PAGE_SIZE, mark) == self.page(index)
        self.after_read(index * PAGE_SIZE, PAGE_SIZE, mark)

    def pin_page(self, index: int) -> None:
        """Read as it does where that keeps a page from writeback."""
        self.read_page(index, slots.NO_WB)

    def discard_page(self, index: int) -> None:
        self.discard(index, 1)

    def discard(self, first: int, nr_pages: int) -> None:
        nr_pages = min(nr_pages, self.nr_slots - first)
        self.wanted = dict.fromkeys(range(first, first + nr_pages), ZERO)
        for _ in self.device.discard(first * PAGE_SIZE, nr_pages * PAGE_SIZE):
            pass
        for index in self.wanted:
            self.pages.pop(index, None)
            self.marks.pop(index, None)
        self.wanted = {}
        self.notify_free += nr_pages

    def mark_idle(self) -> None:
        self.leave_pass()
        for _ in self.device.mark_idle(None):
            pass
        for index, page in self.pages.items():
            if not is_same(page) and not self.marks[index] & slots.NO_WB:
                self.marks[index] |= slots.IDLE

    def unchoose(self) -> None:
        for index in self.marks:
            self.marks[index] &= ~slots.PP_SLOT

    def step_recompression(self, request: Recompression) -> None:
        """Begin one, or go one step further in the pass that is going on."""
        before = self.found()
        times = self.device.store.table.ac_time.tolist()
        if self.steps is None:
            self.request = request
            self.steps = self.device.recompress(request)
            next(self.steps, DONE)
            for index, slot in before.items():
                if is_eligible(slot, request):
                    self.marks[index] |= slots.PP_SLOT
            return
        step = next(self.steps, DONE)
        if isinstance(step, Work):
            self.do(step)
        if step is DONE:
            self.steps = None
        after = self.found()
        for index, slot in before.items():
            outcome = Outcome(slot, after[index], self.request)
            if outcome.changed:
                outcome.check(ended=step is DONE)
                # What was replaced looks untouched since boot.
                time = 0 if outcome.is_success else times[index]
                assert self.device.store.table.ac_time[index] == time, outcome
                self.marks[index] = after[index].word & MARKS

    def do(self, work: Work) -> None:
        """Begin *work*, or end what was begun: as late as it may end."""
        if work is self.work:
            work.run()
        self.work = work

    def step_compaction(self) -> None:
        """Begin a compaction, or go one step further in the one that is going on."""
        self.steps = self.steps or self.device.compact()
        before = self.device.mm_stat()
        if next(self.steps, DONE) is DONE:
            self.steps = None
        after = self.device.mm_stat()
        given_back = before.mem_used_total - after.mem_used_total
        compacted = after.pages_compacted - before.pages_compacted
        assert given_back == compacted * PAGE_SIZE >= 0

    def leave_pass(self) -> None:
        self.steps = self.work = None
        self.unchoose()

    def compact(self) -> None:
        self.leave_pass()
        for _ in self.device.compact():
            pass

    def limit(self, nr_pages: int) -> None:
        self.device.set_mem_limit(nr_pages * PAGE_SIZE)

    def reset_mem_used_max(self) -> None:
        self.device.reset_mem_used_max()
        stat = self.device.mm_stat()
        assert stat.mem_used_max == stat.mem_used_total

    def peek(self, slot: Slot) -> bytes:
        """Return the page in *slot*, and leave its marks alone."""
        return peek(self.device.store, slot)

    def verify(self) -> None:
        """Verify the device, with all that is under way."""
        verify(self.device, in_pass=self.steps is not None or self.choosing)

    def check(self) -> None:
        """Assert that nothing is lost, nothing leaked, and all is counted."""
        self.verify()
        found = self.found()
        assert found.keys() == self.pages.keys()
        for index, page in self.pages.items():
            slot = found[index]
            assert self.peek(slot) == page
            assert slot.has(slots.SAME) == is_same(page)
            size = self.stored_size(page, slot.priority)
            assert slot.size == (0 if is_same(page) else size)
            assert slot.word & MARKS == self.marks[index], (slot, self.marks[index])
        assert self.device.counters.notify_free == self.notify_free
        assert self.device.counters.huge_pages_since == self.huge_pages_since

    def crash_here(self) -> None:
        """Assert that each slot has its old page, or the one being written."""
        store = self.device.store
        found = self.found()
        for index in self.pages.keys() | self.wanted.keys():
            page = ZERO
            if slot := found.get(index):
                page = self.peek(slot)
                klass, place = slot.place
                used = not slot.is_resident or store._pool._used[klass][place]
                assert used, f"the object of page {index} is free"
            allowed = self.page(index), self.wanted.get(index, self.page(index))
            assert page in allowed, f"a crash would lose page {index}"

    def stored_size(self, page: bytes, priority: int = 0) -> int:
        size = len(self.codecs[priority].compress(page))
        return size if size < 3625 else PAGE_SIZE

    def is_huge(self, page: bytes) -> bool:
        return not is_same(page) and self.stored_size(page) == PAGE_SIZE


def crash_here() -> None:
    if Model.watched:
        Model.watched.crash_here()


class WatchedPool(Pool):
    """A pool that lets the model look before and after all that it does."""

    __slots__ = ()

    def alloc(self, klass: int) -> int:
        crash_here()
        index = super().alloc(klass)
        crash_here()
        return index

    def free(self, klass: int, index: int) -> None:
        crash_here()
        super().free(klass, index)
        crash_here()

    def free_many(self, classes: Live, indexes: Live) -> None:
        crash_here()
        super().free_many(classes, indexes)
        crash_here()

    def write(self, klass: int, index: int, stored: Stored) -> None:
        crash_here()
        super().write(klass, index, stored)
        crash_here()

    def vacate(self, klass: int, index: int) -> None:
        crash_here()
        super().vacate(klass, index)
        crash_here()
