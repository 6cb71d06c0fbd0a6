"""Compaction: the tail of every class of the pool moves into the holes before it."""

from typing import Final

import numpy as np

from zramfs.core.pool import CLASS_MASK, CLASS_SHIFT, Live, Pool, class_of
from zramfs.core.slots import PAYLOAD_SHIFT, SIZE_MASK, WB
from zramfs.core.stats import Counters
from zramfs.core.steps import Steps
from zramfs.core.table import SlotTable, Words

_MOVES: Final = 256
"""Objects moved in one step: about 0.5 ms."""


class Compaction:
    """One compaction of a pool whose objects the slots of a table own."""

    __slots__ = ("_counters", "_pool", "_table", "_words")

    def __init__(self, table: SlotTable, pool: Pool, counters: Counters) -> None:
        self._table = table
        self._words = table.words
        self._pool = pool
        self._counters = counters

    def steps(self) -> Steps:
        """Move objects, a bounded step at a time.

        Between two steps anything may happen to any slot, so each move looks at
        its slot again. What is left undone when the caller stops is merely not
        moved.
        """
        pool = self._pool
        pool.sort_holes()
        live = pool.live()
        try:
            for start, words in self._table.scan(0, self._table.nr_slots):
                beyond = _beyond(words, live)
                yield None
                for count, index in enumerate(beyond, 1):
                    self._move(start + index, live)
                    if count % _MOVES == 0:
                        yield None
        finally:
            pool.sort_holes()

    def _move(self, index: int, live: Live) -> None:
        word = self._words[index]
        size = word & SIZE_MASK
        klass = class_of(size)
        place = word >> PAYLOAD_SHIFT
        if not size or word & WB or place < live[klass]:
            return
        pool = self._pool
        target = pool.relocate(klass, place)
        if target is None:
            return
        before = pool.nr_pages
        self._words[index] = word & ((1 << PAYLOAD_SHIFT) - 1) | target << PAYLOAD_SHIFT
        pool.vacate(klass, place)
        self._counters.pages_compacted += before - pool.nr_pages


def _beyond(words: Words, live: Live) -> list[int]:
    """Return which of *words* have their object beyond *live* of its class."""
    sizes = words & np.uint64(SIZE_MASK)
    places = (words >> np.uint64(PAYLOAD_SHIFT)).astype(np.int64)
    first = live[(sizes + np.uint64(CLASS_MASK)) >> np.uint64(CLASS_SHIFT)]
    resident = (sizes != 0) & (words & np.uint64(WB) == 0)
    return np.flatnonzero(resident & (places >= first)).tolist()
