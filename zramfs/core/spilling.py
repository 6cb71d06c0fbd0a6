"""The slots of one device whose pages are on the backing device.

Such a slot has the flag WB, and a block in place of the object. What else it said
of the object stays: it is needed to read what a block holds of it.
"""

from collections.abc import Sequence
from typing import Final

from zramfs.core.blocks import Blocks
from zramfs.core.claims import Claims
from zramfs.core.codecs import Codec
from zramfs.core.pool import CLASS_MASK, CLASS_SHIFT, Pool
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

    __slots__ = ("_blocks", "_claimed", "_codecs", "_pool", "_words", "compressed")

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
        self._claimed = claims.held
        self._codecs = codecs
        self.compressed = False
        """Whether blocks hold the objects of pages, not the pages."""

    def pinned(self, index: PageIndex) -> Spilled:
        """Return how to read the page at *index*, and pin its block until then."""
        word = self._words[index]
        # invariant: only what is written back has a block.
        assert word & WB, word
        block = BlockIndex(word >> PAYLOAD_SHIFT)
        self._blocks.pin(block)
        codec = None
        if self.compressed and not word & HUGE:
            codec = self._codecs[(word & PRIORITY_MASK) >> PRIORITY_SHIFT]
        seal = self._blocks.seal(block)
        return Spilled(index, block, seal, codec, word & SIZE_MASK)

    def spill(
        self, indexes: Sequence[int], blocks: range, owner: object
    ) -> tuple[int, int]:
        """Let the slots of pages that *owner* still claims point to their *blocks*.

        Their objects are given up; the blocks of the others are. Returns how many
        bytes of objects are no longer in memory, and how many huge pages.
        """
        words, pool, claimed = self._words, self._pool, self._claimed
        nr_bytes = nr_huge = 0
        places: list[tuple[int, int]] = []
        for index, block in zip(indexes, blocks, strict=True):
            if claimed.get(index) is not owner:
                self._blocks.free(block)
                continue
            del claimed[index]
            word = words[index]
            size = word & SIZE_MASK
            nr_bytes += size
            place = (size + CLASS_MASK) >> CLASS_SHIFT, word >> PAYLOAD_SHIFT
            if word & HUGE:
                pool.let_go(place[1])
                nr_huge += 1
            else:
                places.append(place)
            words[index] = word & _KEPT | WB | block << PAYLOAD_SHIFT
            if word & HUGE:
                pool.free(*place)
        pool.free_many(places)
        return nr_bytes, nr_huge
