"""The slots of one device whose pages are on the backing device.

Such a slot has the flag WB, and a block in place of the object. What else it said
of the object stays: it is needed to read what a block holds of it.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from zramfs.core.blocks import Blocks
from zramfs.core.claims import Claims
from zramfs.core.codecs import Codec
from zramfs.core.pool import CLASS_MASK, CLASS_SHIFT, HUGE_CLASS, Pool
from zramfs.core.slots import (
    HUGE,
    INCOMPRESSIBLE,
    PAYLOAD_SHIFT,
    PRIORITY_MASK,
    PRIORITY_SHIFT,
    SIZE_MASK,
    WB,
)
from zramfs.core.spilled import Spilled
from zramfs.core.table import SlotTable
from zramfs.units import BlockIndex, PageIndex

_KEPT: Final = HUGE | INCOMPRESSIBLE | PRIORITY_MASK | SIZE_MASK
"""What is kept of a slot whose page is written back."""


class Spilling:
    """How slots come to point to blocks, and what their blocks hold."""

    __slots__ = ("_blocks", "_claims", "_codecs", "_pool", "_words", "compressed")

    def __init__(
        self,
        table: SlotTable,
        pool: Pool,
        blocks: Blocks,
        claims: Claims,
        codecs: Sequence[Codec | None],
    ) -> None:
        self._words = table.words
        self._pool = pool
        self._blocks = blocks
        self._claims = claims
        self._codecs = codecs
        self.compressed = False
        """Whether blocks hold the objects of pages, not the pages."""

    def pinned(self, index: PageIndex) -> Spilled:
        """Return how to read the page at *index*, and pin its block until then."""
        word = self._words[index]
        # invariant: only what is written back has a block.
        assert word & WB, word
        block = BlockIndex(word >> PAYLOAD_SHIFT)
        codec = None
        if self.compressed and not word & HUGE:
            codec = self._codecs[(word & PRIORITY_MASK) >> PRIORITY_SHIFT]
        seal = self._blocks.seal(block)
        spilled = Spilled(index, block, seal, codec, word & SIZE_MASK)
        self._blocks.pin(block)
        return spilled

    def spill(
        self, indexes: Sequence[int], blocks: Sequence[int], owner: object
    ) -> tuple[int, int]:
        """Let the slots of pages that *owner* still claims point to their *blocks*.

        Their objects are given up; the blocks of the others are. Returns how many
        bytes of objects are no longer in memory, and how many huge pages.
        """
        if not self._claims.take_all(indexes, owner):
            held = self._take_claims(indexes, blocks, owner)
            indexes = [index for index, _ in held]
            blocks = [block for _, block in held]
        kept = np.array(indexes, np.int64)
        taken = np.array(blocks, np.uint64)
        table = np.frombuffer(self._words, np.uint64)
        words = table[kept]
        spilled = words & np.uint64(_KEPT) | np.uint64(WB)
        spilled |= taken << np.uint64(PAYLOAD_SHIFT)
        sizes = (words & np.uint64(SIZE_MASK)).astype(np.int64)
        places = (words >> np.uint64(PAYLOAD_SHIFT)).astype(np.int64)
        is_huge = words & np.uint64(HUGE) != 0
        huge = np.flatnonzero(is_huge)
        for at in huge.tolist():
            place = int(places[at])
            self._pool.let_go(place)
            table[kept[at]] = spilled[at]
            self._pool.free(HUGE_CLASS, place)
        few = ~is_huge
        table[kept[few]] = spilled[few]
        classes = (sizes + CLASS_MASK) >> CLASS_SHIFT
        self._pool.free_many(classes[few], places[few])
        return int(sizes.sum()), huge.size

    def _take_claims(
        self, indexes: Sequence[int], blocks: Sequence[int], owner: object
    ) -> list[tuple[int, int]]:
        """Take the claims of *owner* that hold, each with its block; free the rest."""
        held: list[tuple[int, int]] = []
        for index, block in zip(indexes, blocks, strict=True):
            if self._claims.take(index, owner):
                held.append((index, block))
            else:
                self._blocks.free(block)
        return held
