"""The pool: compressed objects in size classes, on sparse memory.

zsmalloc's job. There is a class for every 16 bytes of size, and each class has a
virtual segment of its own in which object *j* lies at ``base + j * size``. The
segment has room for as many objects as the device has pages, but only what was
written is backed by memory, so a class costs what it holds. This packs tighter
than zsmalloc: there are no chains of pages whose last bytes fit no object.

    class 16    |0|1|2|3|4|5|6|...            tail            (sparse)
    class 32    | 0 | 1 | 2 | ...         tail                (sparse)
    ...
    class 3632  |      0      |      1      | ...     tail    (sparse)
    class 4096  |       0       |       1       | ... tail    (sparse)

A freed object is a hole, used again before the tail grows. When the tail itself
is freed, its pages go back to the system at once; so does every page of class
4096, where an object is a page. Other holes stay until `compact` moves the tail
into them. `nr_pages` counts the pages held; it agrees with what the system says
of the memory, but for the last page of a class when it is allotted and not yet
written to.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import numpy as np

from zramfs.core.codecs import HUGE_CLASS_SIZE, Stored
from zramfs.core.header import Header, Words, words
from zramfs.errors import MemoryShort
from zramfs.units import PAGE_SHIFT, PAGE_SIZE, page_align

CLASS_SHIFT: Final = 4
"""Classes are 16 bytes apart, as ZS_SIZE_CLASS_DELTA for 4 KiB pages."""

CLASS_MASK: Final = (1 << CLASS_SHIFT) - 1

HUGE_CLASS: Final = PAGE_SIZE >> CLASS_SHIFT

_CLASSES: Final = (
    *range(1, ((HUGE_CLASS_SIZE - 1 + CLASS_MASK) >> CLASS_SHIFT) + 1),
    HUGE_CLASS,
)

_MANY_DROPPED: Final = 1024
"""A tail that loses more objects than this takes its holes off the list at once.

Skipping them one by one in alloc() would take 0.1 us each, within one request.
"""

_ROOM: Final = 1 << 18
"""Bytes of a class that `rooms` takes for written without a look."""

_MOST_UNASKED: Final = 1024
"""Pages that a pool may grow by without asking again, after it has shrunk: what it
gave back may be somebody else's by then."""

Live = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Objects by class, or sizes, classes and indexes of many."""


class Arena(Protocol):
    """The sparse memory that a pool lives in."""

    @property
    def view(self) -> memoryview:
        """All of the memory, as bytes."""

    def punch(self, offset: int, length: int) -> None:
        """Give whole pages back to the system; they read as zeros."""

    def admit(self, nr_pages: int) -> int:
        """Return how many pages a pool that wants *nr_pages* may hold for now.

        Fewer than that if the system has no memory for it.
        """

    def written(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges in [start, stop) that are backed by memory, ascending.

        Looking at the others would make the system back them.
        """

    def is_written(self, start: int, stop: int) -> bool:
        """Whether anything in [start, stop) is backed by memory."""


@words
class PoolWords(Words):
    """What a pool has in the header."""

    nr_pages_max: int
    """The most pages ever held; the owner may set it back."""
    huge_taken: int
    """The object of HUGE_CLASS that was allocated last."""
    huge_going: int
    """The object of HUGE_CLASS that was about to be freed last."""


def class_of(size: int) -> int:
    """Return the class of an object of *size* bytes."""
    return (size + CLASS_MASK) >> CLASS_SHIFT


def pool_bytes(nr_slots: int) -> int:
    """Return the virtual size of a pool for a device of *nr_slots* pages."""
    return sum(_segment_bytes(klass, nr_slots) for klass in _CLASSES)


def _segment_bytes(klass: int, nr_slots: int) -> int:
    # One object more than there are slots: an overwrite allocates before it frees.
    return page_align((nr_slots + 1) * klass << CLASS_SHIFT)


class Pool:
    """Objects by class and index; who owns them is the slot table's business."""

    __slots__ = (
        "_admitted",
        "_arena",
        "_bases",
        "_bases_array",
        "_free",
        "_held",
        "_nr_places",
        "_used",
        "_view",
        "_words",
        "nr_pages",
    )

    def __init__(self, arena: Arena, base: int, nr_slots: int, header: Header) -> None:
        self._arena = arena
        self._words = PoolWords.from_buffer(header.pool)
        self._view = arena.view
        # What a segment has room for, and where each begins.
        self._nr_places = nr_slots + 1
        self._bases = [0] * (HUGE_CLASS + 1)
        # Of each object below the tail, whether it is used. len() is the tail.
        self._used = [bytearray() for _ in range(HUGE_CLASS + 1)]
        # Holes, and indexes that have meanwhile been used or lie beyond the tail:
        # alloc() looks at _used before it believes one. All are drained before the
        # tail grows, so that there are never more than the tail was long.
        self._free = [array("I") for _ in range(HUGE_CLASS + 1)]
        # Bytes of each segment that are backed by memory, in whole pages. Stays 0
        # in HUGE_CLASS, where memory is held by object, not up to the tail.
        self._held = [0] * (HUGE_CLASS + 1)
        # Up to how many pages it may hold without asking the arena again.
        self._admitted = 0
        self.nr_pages = 0
        """Pages held now, over all classes."""
        for klass in _CLASSES:
            self._bases[klass] = base
            base += _segment_bytes(klass, nr_slots)
        self._bases_array = np.array(self._bases, np.int64)

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped."""
        self._view.release()

    @property
    def nr_pages_max(self) -> int:
        """The most pages ever held; the owner may set it back."""
        return self._words.nr_pages_max

    @nr_pages_max.setter
    def nr_pages_max(self, nr_pages: int) -> None:
        self._words.nr_pages_max = nr_pages

    def alloc(self, klass: int) -> int:
        """Return the index of an object of *klass* that is used from now on.

        MemoryShort, with nothing changed, if the system has no memory for it.
        """
        used = self._used[klass]
        free = self._free[klass]
        while free:
            index = free.pop()
            if index < len(used) and not used[index]:
                # Below the tail only HUGE_CLASS has places without memory.
                if klass == HUGE_CLASS:
                    try:
                        self._hold(klass, 0)
                    except MemoryShort:
                        free.append(index)
                        raise
                    self._words.huge_taken = index
                used[index] = 1
                return index
        if len(used) == self._nr_places:
            # Not all are used: there are holes that `vacate` has not listed.
            self._free[klass] = self._holes(klass)
            return self.alloc(klass)
        end = (len(used) + 1) * klass << CLASS_SHIFT
        if end > self._held[klass]:
            self._hold(klass, end)
        used.append(1)
        return len(used) - 1

    def alloc_many(self, classes: Sequence[int]) -> Live:
        """Return the index of an object of each of *classes*, as `alloc` each.

        MemoryShort, with nothing changed, if there is no memory for all of them.
        """
        indexes: list[int] = []
        try:
            indexes.extend(map(self.alloc, classes))
        except MemoryShort:
            for klass, index in zip(classes, indexes, strict=False):
                self.free(klass, index)
            raise
        self.nr_pages_max = max(self.nr_pages_max, self.nr_pages)
        return np.array(indexes, np.int64)

    def _hold(self, klass: int, end: int) -> None:
        nr_pages = self.nr_pages + 1
        if klass != HUGE_CLASS:
            nr_pages += ((page_align(end) - self._held[klass]) >> PAGE_SHIFT) - 1
        if nr_pages > self._admitted:
            self._admitted = self._arena.admit(nr_pages)
            if nr_pages > self._admitted:
                raise MemoryShort(f"no memory for {nr_pages} pages")
        if klass != HUGE_CLASS:
            self._held[klass] = page_align(end)
        self.nr_pages = nr_pages
        self._words.nr_pages_max = max(self._words.nr_pages_max, self.nr_pages)

    def free(self, klass: int, index: int) -> None:
        """Give up an object: its place is a hole, or the tail ends before it."""
        used = self._used[klass]
        # invariant: an object is freed once, and only by the slot that owns it.
        assert used[index], f"class {klass}: object {index} is free already"
        used[index] = 0
        if klass == HUGE_CLASS:
            self._release(self._bases[klass] + (index << PAGE_SHIFT), PAGE_SIZE)
        if index == len(used) - 1:
            self._shrink(klass)
        else:
            self._free[klass].append(index)

    def free_many(self, classes: Live, indexes: Live) -> None:
        """Free many objects, by class and index, and end each tail once.

        Freed one by one from the tail on, every page would go back by itself.
        """
        for klass in set(classes.tolist()):
            chosen = indexes[classes == klass]
            used = np.frombuffer(self._used[klass], np.uint8)
            # invariant: as in `free`; and huge ones have to be let go one by one.
            assert used[chosen].all(), f"class {klass}: an object is free already"
            assert klass != HUGE_CLASS, chosen
            used[chosen] = 0
            del used  # what is looked at cannot be resized
            self._free[klass].frombytes(chosen.astype(np.uint32).tobytes())
            if not self._used[klass][-1]:
                self._shrink(klass)

    def let_go(self, index: int) -> None:
        """Say that an object of HUGE_CLASS is to be freed once no slot has it.

        A class ends after its last used object, and recovery gives back what is held
        beyond that; but a page of HUGE_CLASS before it can be found by nobody, should
        its slot be emptied and the process end before it is freed. Likewise one
        that is taken, and not yet a slot's: that is noted in alloc().
        """
        self._words.huge_going = index

    def rooms(self) -> Live:
        """Return how many objects of each class there may be in memory, at most."""
        rooms = np.zeros(HUGE_CLASS + 1, np.int64)
        for klass in _CLASSES:
            start, length = self._bases[klass], _ROOM
            stop = start + self._nr_places * (klass << CLASS_SHIFT)
            while self._arena.is_written(start + length, stop):
                length *= 4
            rooms[klass] = min(-(-length // (klass << CLASS_SHIFT)), self._nr_places)
        return rooms

    def adopt(self, used: list[bytearray]) -> None:
        """Take over a pool of which the objects in *used* are used, by class.

        All other memory is given back.
        """
        self._used = used
        for klass in _CLASSES:
            self._free[klass] = self._holes(klass)
            start = self._bases[klass]
            held = page_align(len(used[klass]) * klass << CLASS_SHIFT)
            length = page_align(self._nr_places * klass << CLASS_SHIFT)
            if self._arena.is_written(start + held, start + length):
                self._arena.punch(start + held, length - held)
            if klass != HUGE_CLASS:
                self._held[klass] = held
                self.nr_pages += held >> PAGE_SHIFT
        huge = used[HUGE_CLASS]
        self.nr_pages += huge.count(1)
        for index in (self._words.huge_taken, self._words.huge_going):
            if index < len(huge) and not huge[index]:
                start = self._bases[HUGE_CLASS] + (index << PAGE_SHIFT)
                self._arena.punch(start, PAGE_SIZE)
        self.nr_pages_max = max(self.nr_pages_max, self.nr_pages)

    def _shrink(self, klass: int) -> None:
        """End the tail of *klass* at its last used object."""
        used = self._used[klass]
        nr_dropped = len(used) - (tail := used.rfind(1) + 1)
        del used[tail:]
        if nr_dropped > _MANY_DROPPED:
            self._free[klass] = self._holes(klass)
        held = page_align(tail * klass << CLASS_SHIFT)
        if held < self._held[klass]:
            self._release(self._bases[klass] + held, self._held[klass] - held)
            self._held[klass] = held

    def _release(self, offset: int, length: int) -> None:
        self._arena.punch(offset, length)
        self.nr_pages -= length >> PAGE_SHIFT
        self._admitted = min(self._admitted, self.nr_pages + _MOST_UNASKED)

    def _holes(self, klass: int) -> "array[int]":
        """Return the holes of *klass*, the lowest last."""
        holes = np.flatnonzero(np.frombuffer(self._used[klass], np.uint8) == 0)
        return array("I", holes[::-1].astype(np.uint32).tobytes())

    def write(self, klass: int, index: int, stored: Stored) -> None:
        """Copy *stored* into an object; it may be shorter than the class."""
        start = self._bases[klass] + (index * klass << CLASS_SHIFT)
        self._view[start : start + len(stored)] = stored

    def write_many(
        self, classes: Live, indexes: Live, objects: Sequence[memoryview]
    ) -> None:
        """Copy each of *objects* into one of these classes and indexes."""
        starts = self._bases_array[classes] + indexes * (classes << CLASS_SHIFT)
        view = self._view
        for start, stored in zip(starts.tolist(), objects, strict=True):
            view[start : start + len(stored)] = stored

    def read(self, klass: int, index: int, size: int) -> memoryview:
        """Return the first *size* bytes of an object, where they lie.

        The view is of the memory itself: use it at once, keep nothing of it.
        """
        start = self._bases[klass] + (index * klass << CLASS_SHIFT)
        return self._view[start : start + size]

    def read_many(self, sizes: Live, indexes: Live) -> list[memoryview]:
        """Return the objects of these sizes and indexes, as `read` each.

        An object of no size is empty, wherever it lies.
        """
        classes = (sizes + CLASS_MASK) >> CLASS_SHIFT
        starts = self._bases_array[classes] + indexes * (classes << CLASS_SHIFT)
        ends = (starts + sizes).tolist()
        view = self._view
        return [view[at:end] for at, end in zip(starts.tolist(), ends, strict=True)]

    def live(self) -> Live:
        """Return the number of used objects of each class.

        Objects from that index on are what compaction moves. In HUGE_CLASS there
        are none, ever: its holes hold no memory, and nothing is gained by moving.
        """
        live = np.array([used.count(1) for used in self._used], np.int64)
        live[HUGE_CLASS] = np.iinfo(np.int64).max
        return live

    def sort_holes(self) -> None:
        """Make alloc() and relocate() take the lowest hole of a class first."""
        for klass in _CLASSES:
            self._free[klass] = self._holes(klass)

    def relocate(self, klass: int, index: int) -> int | None:
        """Copy an object into the lowest hole below it and return that index.

        None if there is no such hole. The old object is still used: the owner
        publishes the new index, then calls `vacate`.
        """
        used = self._used[klass]
        free = self._free[klass]
        while free:
            target = free.pop()
            if target < index and not used[target]:
                used[target] = 1
                self.write(klass, target, self.read(klass, index, klass << CLASS_SHIFT))
                return target
        return None

    def vacate(self, klass: int, index: int) -> None:
        """Free a relocated object without listing its place as a hole.

        It would be the next one taken, and the tail would never end.
        `sort_holes` finds it again if it has not gone with the tail by then.
        """
        used = self._used[klass]
        used[index] = 0
        if index == len(used) - 1:
            self._shrink(klass)
