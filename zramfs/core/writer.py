"""The writer: from many objects to their slots' words, as `reader` goes back.

A page costs about 2 us of Python when it is stored alone, besides what its algorithm
takes. The pages of a large request share that: their words are published together, and
what was there before is given up together.

Nothing is counted here; whoever counts is told what has changed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby

import numpy as np

from zramfs.core.chunks import same_pages
from zramfs.core.claims import Claims
from zramfs.core.codecs import HUGE_CLASS_SIZE
from zramfs.core.pool import CLASS_MASK, CLASS_SHIFT, Pool
from zramfs.core.slots import HUGE, PAYLOAD_SHIFT, PP_SLOT, SAME, SIZE_MASK, WB
from zramfs.core.table import SlotTable, Words
from zramfs.errors import MemoryShort
from zramfs.units import PAGE_SHIFT, PageIndex


class Kind(Enum):
    """How a page is stored."""

    OBJECT = 1  # as what it was compressed to
    HUGE = 2  # as it is
    SINGLE = 3  # by itself: nothing is known of it, or it is of one machine word


def kinds_in_turn(
    pages: memoryview, objects: Sequence[memoryview] | None
) -> Iterator[tuple[Kind, range]]:
    """Yield runs of *pages*, whose *objects* these are, that are of one kind each."""
    nr_pages = len(pages) >> PAGE_SHIFT
    if objects is None:
        yield Kind.SINGLE, range(nr_pages)
        return
    sizes = [len(stored) for stored in objects]
    same = same_pages(pages)
    if not same and max(sizes) < HUGE_CLASS_SIZE:  # as nearly always
        yield Kind.OBJECT, range(nr_pages)
        return
    kinds = [Kind.OBJECT if size < HUGE_CLASS_SIZE else Kind.HUGE for size in sizes]
    for at in same:
        kinds[at] = Kind.SINGLE
    for kind, run in groupby(range(nr_pages), kinds.__getitem__):
        ats = [*run]
        yield kind, range(ats[0], ats[-1] + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What storing pages adds to the counters; some of it is below 0."""

    pages_stored: int
    same_pages: int
    compr_data_size: int


class Writer:
    """Stores the objects of pages that follow each other."""

    __slots__ = ("_claims", "_pool", "_table")

    def __init__(self, table: SlotTable, pool: Pool, claims: Claims) -> None:
        self._table = table
        self._pool = pool
        self._claims = claims

    def store(
        self, first: PageIndex, objects: Sequence[memoryview], now_s: int
    ) -> Delta | None:
        """Store *objects*, none of which is huge, from *first* on, accessed at *now_s*.

        None, with nothing changed, if the pages must be stored one by one: if one is
        huge now or written back, or if there is no memory for all of them.
        """
        stop = first + len(objects)
        table = np.frombuffer(self._table.words[first:stop], np.uint64)
        old = table.copy()
        flags = int(np.bitwise_or.reduce(old))
        if flags & (HUGE | WB):
            return None
        sizes = np.fromiter(map(len, objects), np.int64, len(objects))
        classes = (sizes + CLASS_MASK) >> CLASS_SHIFT
        try:
            places = self._pool.alloc_many(classes.tolist())
        except MemoryShort:
            return None
        self._pool.write_many(classes, places, objects)
        # By index: a copy of the whole may be of bytes, and a slot is one 8-byte store.
        words = (sizes | places << PAYLOAD_SHIFT).astype(np.uint64)
        table[np.arange(words.size)] = words
        np.frombuffer(self._table.ac_time[first:stop], np.uint32)[:] = now_s
        if flags & PP_SLOT:
            for at in np.flatnonzero(old & np.uint64(PP_SLOT)).tolist():
                self._claims.held.pop(first + at, None)
        return self._give_up(old, int(sizes.sum()))

    def _give_up(self, old: Words, nr_bytes: int) -> Delta:
        """Free what *old* words stood for; *nr_bytes* of objects are in their place."""
        sizes = (old & np.uint64(SIZE_MASK)).astype(np.int64)
        resident = sizes != 0
        places = (old >> np.uint64(PAYLOAD_SHIFT)).astype(np.int64)
        classes = (sizes + CLASS_MASK) >> CLASS_SHIFT
        self._pool.free_many(classes[resident], places[resident])
        return Delta(
            pages_stored=int(np.count_nonzero(old == 0)),
            same_pages=-int(np.count_nonzero(old & np.uint64(SAME))),
            compr_data_size=nr_bytes - int(sizes.sum()),
        )
