"""Claims: pages that post-processing works on, and nobody has accessed meanwhile.

A scan chooses pages by a flag in their slots (PP_SLOT), and a pass claims those that
still have it when their turn comes. Any read, write or discard of a page takes the
flag off, and the claim away. Claims are compared by identity: a page that was
written and chosen again has another claim, and the first one does not hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import is_

import numpy as np

from zramfs.core.slots import IDLE, PP_SLOT, SIZE_MASK
from zramfs.core.table import Indexes, SlotTable
from zramfs.units import PageIndex


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A claim on one page."""

    index: PageIndex


class Claims:
    """The claims on pages of one device."""

    __slots__ = ("_table", "_words", "held")

    def __init__(self, table: SlotTable) -> None:
        self._table = table
        self._words = table.words
        self.held: dict[int, object] = {}
        """Who has a claim on each claimed page; whoever accesses it takes it out."""

    def claim(self, index: int) -> Claim | None:
        """Claim a page that a scan has chosen; None if it was accessed since."""
        if not self._words[index] & PP_SLOT:
            return None
        claim = Claim(PageIndex(index))
        self.held[index] = claim
        return claim

    def claim_many(self, indexes: Indexes, owner: object) -> list[int]:
        """Claim for *owner* those of *indexes* that were not accessed since."""
        words = np.frombuffer(self._words, np.uint64)
        chosen: list[int] = indexes[words[indexes] & np.uint64(PP_SLOT) != 0].tolist()
        self.held.update(dict.fromkeys(chosen, owner))
        return chosen

    def kept(self, indexes: Sequence[int], owner: object) -> list[int]:
        """Return those of *indexes* that *owner* still has a claim on."""
        return [index for index in indexes if self.held.get(index) is owner]

    def holds(self, claim: Claim) -> bool:
        """Whether the page is as it was when it was claimed."""
        return self.held.get(claim.index) is claim

    def size_of(self, claim: Claim) -> int:
        """Return the stored size of a claimed page, in bytes."""
        return self._words[claim.index] & SIZE_MASK

    def release(self, claim: Claim, flags: int = 0, *, keep_idle: bool = False) -> None:
        """End a claim, if it still holds, setting *flags* in the slot.

        The idle mark goes, because the page was worked on, unless *keep_idle*.
        """
        if self.holds(claim):
            del self.held[claim.index]
            clears = PP_SLOT if keep_idle else PP_SLOT | IDLE
            self._words[claim.index] = self._words[claim.index] & ~clears | flags

    def take(self, index: int, owner: object) -> bool:
        """Take the claim of *owner* on a page out; return whether it held."""
        if self.held.get(index) is not owner:
            return False
        del self.held[index]
        return True

    def take_all(self, indexes: Sequence[int], owner: object) -> bool:
        """Take the claims of *owner* on all of them out, if all hold; else none.

        Of a page that is there twice, as of two scans that found it, one can hold.
        """
        held = self.held
        if not all(map(is_, map(held.get, indexes), repeat(owner))):
            return False
        if len(set(indexes)) < len(indexes):
            return False
        for index in indexes:
            del held[index]
        return True

    def drop(self, index: int, owner: object) -> None:
        """End the claim of *owner* on a page, if it holds; an idle one stays that."""
        if self.take(index, owner):
            self._words[index] &= ~PP_SLOT

    def end_pass(self) -> None:
        """Take back what a pass has chosen and not worked on."""
        self.held.clear()
        self._table.unmark(PP_SLOT)
