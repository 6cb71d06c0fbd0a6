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
from collections.abc import Iterator
from typing import Final, Protocol

import numpy as np

from zramfs.core.codecs import HUGE_CLASS_SIZE, Stored
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

Live = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Objects by class."""


class Arena(Protocol):
    """The sparse memory that a pool lives in."""

    @property
    def view(self) -> memoryview:
        """All of the memory, as bytes."""

    def punch(self, offset: int, length: int) -> None:
        """Give whole pages back to the system; they read as zeros."""

    def written(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges in [start, stop) that are backed by memory, ascending.

        Looking at the others would make the system back them.
        """


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
        "_arena",
        "_bases",
        "_free",
        "_held",
        "_nr_places",
        "_used",
        "_view",
        "nr_pages",
        "nr_pages_max",
    )

    def __init__(self, arena: Arena, base: int, nr_slots: int) -> None:
        self._arena = arena
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
        self.nr_pages = 0
        """Pages held now, over all classes."""
        self.nr_pages_max = 0
        """The most pages ever held; the owner may set it back."""
        for klass in _CLASSES:
            self._bases[klass] = base
            base += _segment_bytes(klass, nr_slots)

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped."""
        self._view.release()

    def alloc(self, klass: int) -> int:
        """Return the index of an object of *klass* that is used from now on."""
        used = self._used[klass]
        free = self._free[klass]
        while free:
            index = free.pop()
            if index < len(used) and not used[index]:
                used[index] = 1
                # Below the tail only HUGE_CLASS has places without memory.
                if klass == HUGE_CLASS:
                    self._hold(klass, 0)
                return index
        if len(used) == self._nr_places:
            # Not all are used: there are holes that `vacate` has not listed.
            self._free[klass] = self._holes(klass)
            return self.alloc(klass)
        used.append(1)
        end = len(used) * klass << CLASS_SHIFT
        if end > self._held[klass]:
            self._hold(klass, end)
        return len(used) - 1

    def _hold(self, klass: int, end: int) -> None:
        nr_pages = 1
        if klass != HUGE_CLASS:
            nr_pages = (page_align(end) - self._held[klass]) >> PAGE_SHIFT
            self._held[klass] = page_align(end)
        self.nr_pages += nr_pages
        self.nr_pages_max = max(self.nr_pages_max, self.nr_pages)

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

    def _holes(self, klass: int) -> "array[int]":
        """Return the holes of *klass*, the lowest last."""
        holes = np.flatnonzero(np.frombuffer(self._used[klass], np.uint8) == 0)
        return array("I", holes[::-1].astype(np.uint32).tobytes())

    def write(self, klass: int, index: int, stored: Stored) -> None:
        """Copy *stored* into an object; it may be shorter than the class."""
        start = self._bases[klass] + (index * klass << CLASS_SHIFT)
        self._view[start : start + len(stored)] = stored

    def read(self, klass: int, index: int, size: int) -> memoryview:
        """Return the first *size* bytes of an object, where they lie.

        The view is of the memory itself: use it at once, keep nothing of it.
        """
        start = self._bases[klass] + (index * klass << CLASS_SHIFT)
        return self._view[start : start + size]

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
