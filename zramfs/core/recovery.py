"""Recovery: all that is derived from the slot table, derived from it anew.

A process that dies leaves the table as it is, and the table is the only truth: an
object is used if a slot says so, and everything else in the pool is not, whatever
the dead had in mind for it. Marks of a pass that was under way are taken off. One
pass over the words, in parts that fit a processor's cache, finds it all; nothing is
sorted, because the use of all objects is noted in one array, class after class.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from zramfs.core.pool import CLASS_MASK, CLASS_SHIFT, HUGE_CLASS, Live
from zramfs.core.slots import PAYLOAD_SHIFT, PP_SLOT, SAME, SIZE_MASK, WB
from zramfs.core.table import Indexes, SlotTable, Words

_CACHED_SLOTS: Final = 1 << 16
"""Slots looked at together: half a MB of words, and as much of what is computed."""


@dataclass(slots=True)
class Found:
    """What the slots say of the store that they belong to."""

    resident_pages: int = 0
    """Pages that have an object."""
    same_pages: int = 0
    compr_data_size: int = 0
    blocks: list[Indexes] = field(default_factory=list)
    """Blocks of written-back pages, in parts."""
    used: list[bytearray] = field(default_factory=list)
    """Of each class, which objects are used, up to the last one that is."""

    @property
    def pages_stored(self) -> int:
        """Slots that are not empty."""
        spilled_pages = sum(part.size for part in self.blocks)
        return self.resident_pages + self.same_pages + spilled_pages

    @property
    def huge_pages(self) -> int:
        """Resident pages stored raw."""
        return self.used[HUGE_CLASS].count(1)


class _Scan:
    """One scan; *rooms* says how many objects of each class there can be."""

    __slots__ = ("_bases", "_marks", "_rooms", "found")

    def __init__(self, rooms: Live) -> None:
        self._rooms = rooms
        # Slots without an object are noted in class 0, of which there is none.
        rooms[0] = 2  # what a same-filled page has for a payload is 0 or 1
        self._bases = np.cumsum(rooms) - rooms
        self._marks = np.zeros(rooms.sum(), np.uint8)
        self.found = Found()

    def add(self, words: Words) -> None:
        """Note what *words* say; take the marks of passes off them.

        Size, SAME, WB and PP_SLOT are the low 16 bits of a word: what is done with
        these alone takes a quarter of the time.
        """
        found = self.found
        low = words.astype(np.uint16)
        flags = int(np.bitwise_or.reduce(low))
        if flags & PP_SLOT:
            words &= ~np.uint64(PP_SLOT)
        sizes = low & np.uint16(SIZE_MASK)
        places = (words >> np.uint64(PAYLOAD_SHIFT)).view(np.int64)
        if flags & SAME:
            found.same_pages += int(np.count_nonzero(low & np.uint16(SAME)))
        if flags & WB:
            spilled = low & np.uint16(WB) != 0
            found.blocks.append(places[spilled])
            sizes[spilled] = places[spilled] = 0
        found.compr_data_size += int(sizes.sum(dtype=np.uint32))
        classes = (sizes + np.uint16(CLASS_MASK)) >> np.uint16(CLASS_SHIFT)
        places += self._bases.take(classes.astype(np.intp))
        self._marks[places] = 1

    def end(self) -> Found:
        """Return all that was found."""
        self._marks[: self._rooms[0]] = 0
        self.found.resident_pages = int(np.count_nonzero(self._marks.view(np.bool_)))
        for base, room in zip(self._bases.tolist(), self._rooms.tolist(), strict=True):
            used = bytearray(self._marks[base : base + room])
            del used[used.rfind(1) + 1 :]
            self.found.used.append(used)
        return self.found


def rebuild(table: SlotTable, rooms: Live) -> Found:
    """Return what the slots of *table* say.

    *rooms* is how many objects of each class there may be, `Pool.rooms`.
    """
    scan = _Scan(rooms)
    for _, words in table.scan(0, table.nr_slots):
        for first in range(0, words.size, _CACHED_SLOTS):
            scan.add(words[first : first + _CACHED_SLOTS])
    return scan.end()
