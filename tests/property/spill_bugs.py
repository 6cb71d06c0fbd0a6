"""Bugs of writeback to plant, as in `bugs`."""

from collections.abc import Sequence

from zramfs.core import slots
from zramfs.core.blocks import Blocks
from zramfs.core.claims import Claim, Claims
from zramfs.core.spilled import Spilled
from zramfs.core.steps import Run
from zramfs.core.store import Store
from zramfs.core.table import SlotTable
from zramfs.core.writeback import Writeback
from zramfs.errors import ZramError
from zramfs.units import BlockIndex, PageIndex


class KeepsARunAsAFlag(Store):
    """A run holds a page if any run does: the lost claim."""

    def spill(self, indexes: Sequence[int], blocks: range, owner: object) -> None:
        for index in indexes:
            if self._words[index] & slots.PP_SLOT:
                self.claims.held[index] = owner
        super().spill(indexes, blocks, owner)


class TakesWhateverHappened(Store):
    """A page is written back, whoever has written it meanwhile."""

    def spill(self, indexes: Sequence[int], blocks: range, owner: object) -> None:
        for index in indexes:
            if self._words[index]:
                self.claims.held[index] = owner
        super().spill(indexes, blocks, owner)


class DropsWhatItLost(Claims):
    """A run that failed ends the claim of the next one."""

    def drop(self, index: int, owner: object) -> None:
        super().drop(index, self.held.get(index, owner))


class ClaimsForEver(Claims):
    """A run that failed keeps its claim."""

    def drop(self, index: int, owner: object) -> None:
        pass


class TakesFromARecompression(Claims):
    """A run that outlived its pass ends the claim that a recompression has."""

    def take(self, index: int, owner: object) -> bool:
        if isinstance(self.held.get(index), Claim):
            self.held[index] = owner
        return super().take(index, owner)


class ForgetsItIsIncompressible(Store):
    """A page that no algorithm could help is not known as that any more."""

    def spill(self, indexes: Sequence[int], blocks: range, owner: object) -> None:
        super().spill(indexes, blocks, owner)
        for index in indexes:
            if self._words[index] & slots.WB:
                self._words[index] &= ~slots.INCOMPRESSIBLE


class RecoversWhatWasChosen(Store):
    """What a pass of the dead had chosen stays chosen."""

    def recover(self) -> None:
        chosen = [word & slots.PP_SLOT for word in self._words.tolist()]
        super().recover()
        for index, mark in enumerate(chosen):
            self._words[index] |= mark


class ReusesPinnedBlocks(Blocks):
    """A block is handed out again while it is read."""

    def free(self, block: int) -> None:
        self.nr_used -= 1
        self._vacate(block)


class LosesPinnedBlocks(Blocks):
    """A block that was given up while it was read is never free again."""

    def unpin(self, block: BlockIndex) -> None:
        self._freed.discard(block)
        super().unpin(block)


class ForgetsTheSeal(Blocks):
    """A block keeps the seal of what was there before."""

    def set_seals(self, first: int, seals: bytes) -> None:
        if not any(self.seal(BlockIndex(first))):
            super().set_seals(first, seals)


class LeaksBlocks(Store):
    """What is overwritten keeps its block."""

    def _release(self, word: int) -> None:
        if word & slots.WB:
            self.pages_stored -= 1
        else:
            super()._release(word)


class LeaksObjects(Store):
    """What is written back keeps its object."""

    def spill(self, indexes: Sequence[int], blocks: range, owner: object) -> None:
        before = self.pages_stored
        words = [self._words[index] for index in indexes]
        super().spill(indexes, blocks, owner)
        for word in words:
            if not word & slots.HUGE and before:
                self.compr_data_size += word & slots.SIZE_MASK


class ReadsWithoutPinning(Store):
    """A block may go to another page while it is read."""

    def spilled(self, index: PageIndex) -> Spilled:
        found = super().spilled(index)
        self.blocks.unpin(found.block)
        return found


class TakesHugeForResident(SlotTable):
    """A raw page is not seen to be written back."""

    def is_spilled(self, index: PageIndex) -> bool:
        return self.words[index] & (slots.WB | slots.HUGE) == slots.WB


class MarksBeforeItLooks(Store):
    """A synchronous read of what is written back leaves its mark."""

    def read_or_find(self, index: PageIndex, mark: int) -> bytes | BlockIndex:
        if self._words[index]:
            self._words[index] |= mark
        return super().read_or_find(index, mark)


class PublishesBeforeTheSeal(Writeback):
    """The slot points to a block whose seal is not there yet."""

    def commit(self, run: Run, start: int, stop: int, seals: bytes) -> None:
        blocks = run.blocks[start:stop]
        self._counters.bd_writes += len(blocks)
        self._store.spill(run.indexes[start:stop], blocks, run)
        self._store.blocks.set_seals(blocks.start, seals)


class ChargesForFailures(Writeback):
    """A page that could not be written counts against the limit."""

    def fail(self, run: Run, start: int, stop: int, error: ZramError | OSError) -> None:
        run.is_charged = False
        super().fail(run, start, stop, error)


class ChargesTwice(Writeback):
    """A page is charged when it is taken, and when it is written."""

    def commit(self, run: Run, start: int, stop: int, seals: bytes) -> None:
        super().commit(run, start, stop, seals)
        if run.is_charged:
            self._backing.limit = max(0, self._backing.limit - 1)


class CountsWhatCounts(Writeback):
    """Pages that had changed by the time they were written are not counted."""

    def commit(self, run: Run, start: int, stop: int, seals: bytes) -> None:
        lost = len(run.indexes[start:stop]) - sum(
            self._store.claims.held.get(index) is run
            for index in run.indexes[start:stop]
        )
        super().commit(run, start, stop, seals)
        self._counters.bd_writes -= lost


class KeepsWhatFailed(Writeback):
    """A page that could not be written keeps its block."""

    def fail(self, run: Run, start: int, stop: int, error: ZramError | OSError) -> None:
        super().fail(run, start, stop, error)
        self._store.blocks.alloc(1)


class GoesBeyondTheLimit(Writeback):
    """The limit is looked at, and not how much is left."""

    def _affordable(self, most: int) -> int:
        super()._affordable(most)
        return most
