"""Bugs to plant, one at a time: the machines must find each of them.

A property test that nobody has seen fail proves nothing. Each bug is one that could
be made, or was: a subclass that does one thing wrong.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from tests.property.model import WatchedPool
from zramfs.core import slots
from zramfs.core.claims import Claim, Claims
from zramfs.core.codecs import HUGE_CLASS_SIZE, Stored
from zramfs.core.compaction import Compaction
from zramfs.core.pool import HUGE_CLASS, Live, class_of
from zramfs.core.reader import Reader
from zramfs.core.steps import Steps
from zramfs.core.store import Store
from zramfs.core.table import Words
from zramfs.core.writer import Delta, Writer
from zramfs.errors import MemoryLimitExceeded
from zramfs.units import PAGE_SIZE, BlockIndex, PageIndex


class PublishesBeforeWriting(Store):
    """The slot points to its object before the object is there."""

    def write(self, index: PageIndex, page: memoryview) -> None:
        if self._write_same(index, page):
            return
        stored: Stored = self._compress(page)
        word = size = len(stored)
        if size >= HUGE_CLASS_SIZE:
            stored, size, word = page, PAGE_SIZE, PAGE_SIZE | slots.HUGE
        place = self._pool.alloc(class_of(size))
        if 0 < self.limit_pages < self._pool.nr_pages:
            self._pool.free(class_of(size), place)
            raise MemoryLimitExceeded(f"page {index}: ")
        self._replace(index, word | place << slots.PAYLOAD_SHIFT)
        self._pool.write(class_of(size), place, stored)
        self.compr_data_size += size
        if word & slots.HUGE:
            self.huge_pages += 1
            self._counters.huge_pages_since += 1


class FreesBeforePublishing(Store):
    """The old object is given up while the slot still points to it."""

    def _replace(self, index: PageIndex, word: int) -> None:
        old = self._words[index]
        if old:
            self._release(old)
        self._words[index] = word
        self.pages_stored += 1


class ForgetsToFree(WatchedPool):
    """The old object stays used."""

    def free(self, klass: int, index: int) -> None:
        pass


class MovesWithoutLookingAgain(Compaction):
    """Compaction believes what it saw at its beginning."""

    seen: list[int]

    def steps(self) -> Steps:
        self.seen = self._words.tolist()
        yield from super().steps()

    def _move(self, index: int, live: Live) -> None:
        now = self._words[index]
        self._words[index] = self.seen[index]
        super()._move(index, live)
        if self._words[index] == self.seen[index]:
            self._words[index] = now


class MovesBeforeCopying(WatchedPool):
    """The new place is the slot's before the object is in it."""

    def relocate(self, klass: int, index: int) -> int | None:
        target = super().relocate(klass, index)
        if target is not None:
            self.write(klass, target, bytes(klass << 4))
        return target


class KeepsTheFillWordUnderZeros(Store):
    """A page of zeros reads as the word that filled the page before."""

    def _write_same(self, index: PageIndex, page: memoryview) -> bool:
        filled = self._words[index] & (slots.SAME | 1 << slots.PAYLOAD_SHIFT)
        same = super()._write_same(index, page)
        if same:
            self._words[index] |= filled
        return same


class KeepsTheFillWord(Store):
    """A second fill word does not replace the first."""

    def _write_same(self, index: PageIndex, page: memoryview) -> bool:
        fill = self._fills[index]
        same = super()._write_same(index, page)
        if same and fill:
            self._fills[index] = fill
        return same


class ComparesTheEndsOnly(Store):
    """A page whose first and last word are equal is taken for same-filled."""

    def _write_same(self, index: PageIndex, page: memoryview) -> bool:
        fill = page[:8].tobytes()
        same = memoryview(fill * (PAGE_SIZE // 8))
        return fill == page[-8:] and super()._write_same(index, same)


class ListsHolesTwice(WatchedPool):
    """One hole can be given to two."""

    def free(self, klass: int, index: int) -> None:
        super().free(klass, index)
        if index < len(self._used[klass]):
            self._free[klass].append(index)


class ListsNoHoles(WatchedPool):
    """Holes are never used again."""

    def free(self, klass: int, index: int) -> None:
        super().free(klass, index)
        del self._free[klass][:]


class TrustsTheFreeList(WatchedPool):
    """A hole that has gone with the tail is given out."""

    def alloc(self, klass: int) -> int:
        if self._free[klass] and klass != HUGE_CLASS:
            index = self._free[klass].pop()
            missing = index + 1 - len(self._used[klass])
            self._used[klass].extend(bytes(max(0, missing)))
            self._used[klass][index] = 1
            return index
        return super().alloc(klass)


class KeepsOneTooMany(WatchedPool):
    """The tail ends one place behind its last object."""

    def _shrink(self, klass: int) -> None:
        super()._shrink(klass)
        self._used[klass].append(0)


class ReleasesOneTooMany(WatchedPool):
    """The last page that is needed is given back with the others."""

    def _shrink(self, klass: int) -> None:
        super()._shrink(klass)
        if held := self._held[klass]:
            self._arena.punch(self._bases[klass] + held - PAGE_SIZE, PAGE_SIZE)


class KeepsTheMemory(WatchedPool):
    """What is given back is only counted."""

    def _release(self, _offset: int, length: int) -> None:
        self.nr_pages -= length // PAGE_SIZE


class ForgetsToCount(WatchedPool):
    """A hole of huge objects that is used again is not counted."""

    def _hold(self, klass: int, end: int) -> None:
        if klass != HUGE_CLASS or end:
            super()._hold(klass, end)


class OutgrowsItsSegment(WatchedPool):
    """Nothing stops the tail, as long as places are vacated."""

    def alloc(self, klass: int) -> int:
        self._nr_places = 1 << 62
        return super().alloc(klass)


class CountsSamePagesUpOnly(Store):
    """same_pages does not go down."""

    def _release(self, word: int) -> None:
        super()._release(word)
        self.same_pages += bool(word & slots.SAME)


class CountsHugePagesUpOnly(Store):
    """huge_pages does not go down."""

    def _release(self, word: int) -> None:
        super()._release(word)
        self.huge_pages += bool(word & slots.HUGE)


class CountsBytesUpOnly(Store):
    """compr_data_size does not go down."""

    def _release(self, word: int) -> None:
        super()._release(word)
        self.compr_data_size += word & slots.SIZE_MASK


class CountsPagesUpOnly(Store):
    """pages_stored does not go down."""

    def _release(self, word: int) -> None:
        super()._release(word)
        self.pages_stored += 1


class LimitsSameFilledPages(Store):
    """mem_limit refuses pages that need no memory."""

    def _write_same(self, index: PageIndex, page: memoryview) -> bool:
        same = page == bytes(page[:8]) * (PAGE_SIZE // 8)
        if same and 0 < self.limit_pages <= self.pool_pages:
            raise MemoryLimitExceeded(f"page {index}: ")
        return super()._write_same(index, page)


class LosesThePageAtTheLimit(Store):
    """A page that does not fit takes the old one with it."""

    def write(self, index: PageIndex, page: memoryview) -> None:
        try:
            super().write(index, page)
        except MemoryLimitExceeded:
            self.free(index)
            raise


class RefusesTheLastPage(Store):
    """A pool of exactly mem_limit is already too large."""

    def write(self, index: PageIndex, page: memoryview) -> None:
        limit = self.limit_pages
        if limit:
            self.limit_pages = max(1, limit - 1)
        try:
            super().write(index, page)
        finally:
            self.limit_pages = limit


class ForgetsTheAccessTime(Store):
    """A freed slot keeps the time of its last access."""

    now_s = 1

    def free(self, index: PageIndex) -> None:
        time = self._ac_time[index]
        super().free(index)
        self._ac_time[index] = time or 1


class HoldsWhateverHappened(Claims):
    """What was compressed is committed without another look."""

    def holds(self, claim: Claim) -> bool:
        return bool(claim)


class KeepsAClaimAsAFlag(Claims):
    """A claim holds if there is one on the page, whosever it is."""

    def holds(self, claim: Claim) -> bool:
        return bool(self._words[claim.index] & slots.PP_SLOT)


class ReleasesAnyClaim(Claims):
    """A claim that is lost takes the next one with it."""

    def release(self, claim: Claim, flags: int = 0, *, keep_idle: bool = False) -> None:
        self.held[claim.index] = claim
        super().release(claim, flags, keep_idle=keep_idle)


class KeepsLostClaims(Store):
    """A read takes the mark off and leaves the claim."""

    def read_or_find(self, index: PageIndex, mark: int) -> bytes | BlockIndex:
        claims = dict(self.claims.held)
        page = super().read_or_find(index, mark)
        self.claims.held.update(claims)
        return page


class ExchangesWithoutCounting(Store):
    """compr_data_size goes down by the old object, not up by the new one."""

    def exchange(self, claim: Claim, stored: Stored, priority: int) -> None:
        super().exchange(claim, stored, priority)
        self.compr_data_size -= len(stored)


class ExchangesForThePrimary(Store):
    """Which algorithm made the object is forgotten."""

    def exchange(self, claim: Claim, stored: Stored, priority: int) -> None:
        super().exchange(claim, stored, priority)
        self._words[claim.index] &= ~slots.PRIORITY_MASK


class KeepsTheIdleMark(Claims):
    """A page that was tried in vain stays idle."""

    def release(self, claim: Claim, flags: int = 0, *, keep_idle: bool = False) -> None:
        super().release(claim, flags, keep_idle=keep_idle or bool(flags))


class KeepsTheTime(Store):
    """A recompressed page looks accessed."""

    def exchange(self, claim: Claim, stored: Stored, priority: int) -> None:
        super().exchange(claim, stored, priority)
        self._ac_time[claim.index] = 1


class PeeksByReading(Store):
    """Looking at a claimed page takes the claim away."""

    def peek(self, claim: Claim) -> bytes:
        return self.read(claim.index)


class ChoosesForEver(Claims):
    """What a pass has chosen and not done stays chosen."""

    def end_pass(self) -> None:
        self.held.clear()


class CallsEveryFailureTheLast(Claims):
    """A page is incompressible as soon as one algorithm fails."""

    def release(self, claim: Claim, flags: int = 0, *, keep_idle: bool = False) -> None:
        super().release(
            claim, flags or slots.INCOMPRESSIBLE * (not keep_idle), keep_idle=keep_idle
        )


class RecoversNoMarks(WatchedPool):
    """What recovery finds used, it gives out again."""

    def adopt(self, used: list[bytearray]) -> None:
        super().adopt([bytearray(len(marks)) for marks in used])


class RecoversNoHoles(WatchedPool):
    """The holes that the dead process left are lost."""

    def adopt(self, used: list[bytearray]) -> None:
        super().adopt(used)
        for free in self._free:
            del free[:]


class RecoversTheTailOnly(WatchedPool):
    """What lies before the last object is taken for used."""

    def adopt(self, used: list[bytearray]) -> None:
        super().adopt([bytearray(b"\1") * len(marks) for marks in used])


class RecoversWithoutCounting(Store):
    """compr_data_size begins at 0."""

    def recover(self) -> None:
        super().recover()
        self.compr_data_size = 0


class ReadsRunsUnseen(Reader):
    """Reading several pages at once is no access."""

    def access(
        self, first: PageIndex, nr_pages: int, now_s: int, mark: int
    ) -> Iterable[int]:
        return super().access(first, nr_pages * 0, now_s, mark)


class MarksOnlyTheFirst(Reader):
    """Of several pages that are read, the others keep their marks."""

    def access(
        self, first: PageIndex, nr_pages: int, now_s: int, mark: int
    ) -> Iterable[int]:
        return super().access(first, min(nr_pages, 1), now_s, mark)


class TakesTheFirstFill(Reader):
    """The same-filled pages among others are all like page 0."""

    def _same_block(self, index: PageIndex) -> bytes:
        return super()._same_block(PageIndex(index * 0))


class LeaksWhatWasThere(Writer):
    """What several pages at once take the place of is never freed."""

    def _give_up(self, old: Words, nr_bytes: int) -> Delta:
        kept = old.copy()
        kept[old & np.uint64(slots.SIZE_MASK) != 0] = 0
        found = super()._give_up(kept, nr_bytes)
        return replace(found, pages_stored=int(np.count_nonzero(old == 0)))


class CountsSamePagesOn(Writer):
    """Same-filled pages that several pages take the place of still count."""

    def _give_up(self, old: Words, nr_bytes: int) -> Delta:
        return replace(super()._give_up(old, nr_bytes), same_pages=0)
