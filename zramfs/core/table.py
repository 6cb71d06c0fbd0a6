"""The slot table as memory: the words, and what is done with many at once.

Whoever needs one slot indexes `words`, 30 ns a time; whoever needs all of them
works on NumPy arrays of the same memory, a million slots in a few milliseconds.
What was never written is left out everywhere: looking at it would make the system
back it with memory.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from zramfs.core.pool import Arena
from zramfs.core.slots import (
    AC_TIME_BYTES,
    FILL_BYTES,
    IDLE,
    NO_WB,
    PAYLOAD_SHIFT,
    SAME,
    SIZE_MASK,
    SLOT_BYTES,
    WB,
)
from zramfs.core.steps import Steps
from zramfs.units import BlockIndex, PageIndex, page_align

Words = np.ndarray[tuple[int], np.dtype[np.uint64]]
"""Slot words, for what is done with many at once."""

Times = np.ndarray[tuple[int], np.dtype[np.uint32]]
"""Access times, likewise."""

Indexes = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Slots by index."""

_SCAN_SLOTS: Final = 1 << 20
"""Slots looked at in one step of a whole-table scan: about 10 ms."""

_NEAR_SLOTS: Final = 512
"""Slots looked at first where the next is probably near: a page of the table."""

_CACHED_SLOTS: Final = 1 << 16
"""Slots whose words, and what is computed of them, fit into a processor's cache: done
in such parts, marking a table takes half the time."""

_NOT_FLAGS: Final = np.uint64((1 << 64) - (1 << PAYLOAD_SHIFT) | SIZE_MASK)
"""Payload and size: both 0 in an empty slot and in a page of zeros."""


def table_bytes(nr_slots: int) -> int:
    """Return the size of the table of a device of *nr_slots* pages."""
    return sum(
        page_align(nr_slots * size) for size in (SLOT_BYTES, AC_TIME_BYTES, FILL_BYTES)
    )


def _mark_idle(words: Words, times: Times, before_s: int | None) -> None:
    idle = words != 0
    idle &= words & np.uint64(SAME | WB | NO_WB) == 0
    if before_s is not None:
        words &= ~np.uint64(IDLE)  # of what was passed over, nothing has it
        idle &= times < before_s
    np.bitwise_or(words, np.uint64(IDLE), out=words, where=idle)


class SlotTable:
    """Slot words, access times and fill words, at the start of an arena."""

    __slots__ = ("_arena", "ac_time", "fills", "nr_slots", "words")

    def __init__(self, arena: Arena, nr_slots: int) -> None:
        self._arena = arena
        self.nr_slots = nr_slots
        view = arena.view
        base = page_align(nr_slots * SLOT_BYTES)
        self.words = view[: nr_slots * SLOT_BYTES].cast("Q")
        """One word for each page, see `zramfs.core.slots`."""
        self.ac_time = view[base : base + nr_slots * AC_TIME_BYTES].cast("I")
        """Seconds since boot of the last access of each page."""
        base += page_align(nr_slots * AC_TIME_BYTES)
        self.fills = view[base : base + nr_slots * FILL_BYTES].cast("Q")
        """The machine word of each same-filled page that is not of zeros."""

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped."""
        self.words.release()
        self.ac_time.release()
        self.fills.release()

    def scan(self, start: int, stop: int) -> Iterator[tuple[int, Words]]:
        """Yield the words of the slots in [start, stop), in runs with their start.

        The words are the table itself.
        """
        table = self._arena.written(start * SLOT_BYTES, stop * SLOT_BYTES)
        for begin, end in table:
            for offset in range(begin, end, _SCAN_SLOTS * SLOT_BYTES):
                first = offset // SLOT_BYTES
                last = min(first + _SCAN_SLOTS, end // SLOT_BYTES)
                yield first, np.frombuffer(self.words[first:last], np.uint64)

    def _scan_on(self, index: int) -> Iterator[tuple[int, Words]]:
        """Yield as `scan` does from *index* on: a few words, then ever more.

        Whoever asks for one page after the other would else scan the whole table
        each time.
        """
        count = _NEAR_SLOTS
        while index < self.nr_slots:
            # Up to the end of a page of the table: within one, that is quickest.
            stop = min((index // count + 1) * count, self.nr_slots)
            yield from self.scan(index, stop)
            index = stop
            count *= 2

    def is_zero(self, index: PageIndex) -> bool:
        """Whether the page at *index* is known to be all zeros."""
        return not self.words[index] & int(_NOT_FLAGS)

    def is_spilled(self, index: PageIndex) -> bool:
        """Whether the page at *index* is written back."""
        return bool(self.words[index] & WB)

    def is_in(self, index: PageIndex, block: BlockIndex) -> bool:
        """Whether the page at *index* is written back, and in *block*."""
        word = self.words[index]
        return bool(word & WB) and word >> PAYLOAD_SHIFT == block

    def next_data(self, index: int) -> int | None:
        """Return the first page from *index* on that is not all zeros, if any."""
        for start, words in self._scan_on(index):
            data = np.flatnonzero(words & _NOT_FLAGS)
            if data.size:
                return start + int(data[0])
        return None

    def next_hole(self, index: int) -> int:
        """Return the first page from *index* on that reads as zeros, or the end."""
        for start, words in self._scan_on(index):
            if start > index:
                break
            holes = np.flatnonzero(words & _NOT_FLAGS == 0)
            if holes.size:
                return start + int(holes[0])
            index = start + words.size
        return index

    def has_flagged(self, indexes: range, flag: int) -> bool:
        """Whether a slot at one of *indexes*, adjacent ones, has *flag*."""
        words = np.frombuffer(self.words[indexes.start : indexes.stop], np.uint64)
        return bool((words & np.uint64(flag)).any())

    def nr_flagged(self, flag: int) -> int:
        """Return how many slots have *flag*."""
        mask = np.uint64(flag)
        scan = self.scan(0, self.nr_slots)
        return sum(int(np.count_nonzero(words & mask)) for _, words in scan)

    def unmark(self, flag: int) -> None:
        """Take *flag* off wherever it is."""
        for _, words in self.scan(0, self.nr_slots):
            marked = words & np.uint64(flag) != 0
            if marked.any():
                words[marked] &= ~np.uint64(flag)

    def mark_idle(self, before_s: int | None) -> Steps:
        """Mark stored pages idle, in bounded steps: all, or by their last access.

        With *before_s*, those accessed before it are marked and the others lose
        their mark. Same-filled and written-back pages are passed over, and those
        that never are to be.
        """
        for start, words in self.scan(0, self.nr_slots):
            times = np.frombuffer(self.ac_time[start : start + words.size], np.uint32)
            for first in range(0, words.size, _CACHED_SLOTS):
                part = slice(first, first + _CACHED_SLOTS)
                _mark_idle(words[part], times[part], before_s)
            yield None

    def allocated(self, index: int, most: int) -> list[int]:
        """Return up to *most* slots from *index* on that are not empty."""
        found: list[int] = []
        for start, words in self._scan_on(index):
            used = np.flatnonzero(words)[: most - len(found)]
            found += (used + start).tolist()
            if len(found) == most:
                break
        return found
