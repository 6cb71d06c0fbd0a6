"""The store: pages in, pages out, by index.

The life of a page is here and nowhere else: `write` chooses how to keep it
(same-filled, compressed, raw), `read` finds it again, and every payload that a
slot gives up goes through `_release`, the only place where counters go down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from zramfs.core.codecs import DECOMPRESS_ERRORS, HUGE_CLASS_SIZE, Codec, Stored
from zramfs.core.compaction import Compaction
from zramfs.core.pool import (
    CLASS_MASK,
    CLASS_SHIFT,
    Arena,
    Pool,
    class_of,
    pool_bytes,
)
from zramfs.core.slots import (
    ACCESS_CLEARS,
    HUGE,
    IDLE,
    NO_WB,
    PAYLOAD_SHIFT,
    PP_SLOT,
    PRIORITY_MASK,
    PRIORITY_SHIFT,
    SAME,
    SIZE_MASK,
)
from zramfs.core.stats import Counters
from zramfs.core.steps import Steps
from zramfs.core.table import SlotTable, table_bytes
from zramfs.errors import CorruptPage, MemoryLimitExceeded
from zramfs.units import PAGE_SHIFT, PAGE_SIZE, PageIndex

ZERO_PAGE: Final = bytes(PAGE_SIZE)

_WORD_BYTES: Final = 8

_FREES: Final = 1024
"""Slots emptied in one step of a discard: about 1 ms."""


def arena_bytes(nr_slots: int) -> int:
    """Return the virtual size of everything a device of *nr_slots* pages needs."""
    return table_bytes(nr_slots) + pool_bytes(nr_slots)


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A page that post-processing works on; any access takes it away.

    Compared by identity: a page that was written and claimed again has another.
    """

    index: PageIndex


class Store:
    """The pages of one initialised device.

    Lives in *arena*: the slot words, the access times, the fill words, then the
    pool. *codecs* are the algorithms by priority, the primary first.
    """

    __slots__ = (
        "_ac_time",
        "_claims",
        "_codecs",
        "_compress",
        "_counters",
        "_fills",
        "_pool",
        "_words",
        "compr_data_size",
        "huge_pages",
        "limit_pages",
        "now_s",
        "nr_slots",
        "pages_stored",
        "same_pages",
        "table",
    )

    def __init__(
        self,
        arena: Arena,
        nr_slots: int,
        codecs: Sequence[Codec | None],
        counters: Counters,
    ) -> None:
        self.table = SlotTable(arena, nr_slots)
        # What every request uses, without a step in between.
        self._words = self.table.words
        self._ac_time = self.table.ac_time
        self._fills = self.table.fills
        self._pool = Pool(arena, table_bytes(nr_slots), nr_slots)
        # Claimed pages by index; those that were accessed since are not in here.
        self._claims: dict[int, Claim] = {}
        self._codecs = tuple(codecs)
        primary = codecs[0]
        # invariant: there is always a primary algorithm.
        assert primary, "no primary algorithm"
        self._compress = primary.compress
        self._counters = counters
        self.nr_slots = nr_slots
        self.now_s = 0
        """Seconds since boot, for access times; whoever drives the device sets it."""
        self.limit_pages = 0
        """mem_limit in pages; 0 is none."""
        self.pages_stored = 0
        self.same_pages = 0
        self.huge_pages = 0
        self.compr_data_size = 0

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped."""
        self.table.close()
        self._pool.close()

    def codec(self, priority: int) -> Codec | None:
        """Return the algorithm of *priority*, None if none is configured."""
        return self._codecs[priority] if priority < len(self._codecs) else None

    @property
    def pool_pages(self) -> int:
        """Pages that the pool holds now."""
        return self._pool.nr_pages

    @property
    def pool_pages_max(self) -> int:
        """The most pages that the pool held since `reset_pool_pages_max`."""
        return self._pool.nr_pages_max

    @property
    def waste(self) -> int:
        """Bytes that the pool holds and no object needs: what compaction can return.

        An estimate from the counters: an object leaves half a class step unused.
        """
        nr_objects = self.pages_stored - self.same_pages
        needed = self.compr_data_size + (nr_objects << CLASS_SHIFT >> 1)
        return (self._pool.nr_pages << PAGE_SHIFT) - needed

    def reset_pool_pages_max(self) -> None:
        """Begin the high-water mark anew, at what is held now."""
        self._pool.nr_pages_max = self._pool.nr_pages

    def read(self, index: PageIndex, mark: int = 0) -> bytes:
        """Return the page at *index*; zeros if none is stored.

        Sets the flags *mark* in its slot. CorruptPage if its object does not give
        one page.
        """
        word = self._words[index]
        if not word:
            return ZERO_PAGE
        self._ac_time[index] = self.now_s
        accessed = word & ~ACCESS_CLEARS | mark
        if accessed != word:
            self._words[index] = accessed
            self._claims.pop(index, None)
        return self._page(index, word)

    def _page(self, index: PageIndex, word: int) -> bytes:
        if word & SAME:
            return self._same_page(index, word)
        size = word & SIZE_MASK
        klass = (size + CLASS_MASK) >> CLASS_SHIFT
        stored = self._pool.read(klass, word >> PAYLOAD_SHIFT, size)
        if word & HUGE:
            return bytes(stored)
        codec = self._codecs[(word & PRIORITY_MASK) >> PRIORITY_SHIFT]
        # invariant: only what is configured has compressed a page.
        assert codec, word
        try:
            page = codec.decompress(stored)
        except DECOMPRESS_ERRORS as error:
            raise CorruptPage(f"page {index}: {codec.name}: {error}") from error
        if len(page) != PAGE_SIZE:
            raise CorruptPage(f"page {index}: {codec.name}: {len(page)} bytes")
        return page

    def _same_page(self, index: PageIndex, word: int) -> bytes:
        if not word >> PAYLOAD_SHIFT:
            return ZERO_PAGE
        fill = self._fills[index].to_bytes(_WORD_BYTES, "little")
        return fill * (PAGE_SIZE // _WORD_BYTES)

    def write(self, index: PageIndex, page: memoryview) -> None:
        """Store *page* at *index* in place of what was there.

        MemoryLimitExceeded if it does not fit, and then the old page is intact.
        """
        machine_words = page.cast("Q")
        if machine_words[0] == machine_words[-1] and self._write_same(index, page):
            return
        stored = self._compress(page)
        word = size = len(stored)
        if size >= HUGE_CLASS_SIZE:
            stored = page
            size = PAGE_SIZE
            word = PAGE_SIZE | HUGE
        pool = self._pool
        klass = (size + CLASS_MASK) >> CLASS_SHIFT
        place = pool.alloc(klass)
        if self.limit_pages and pool.nr_pages > self.limit_pages:
            pool.free(klass, place)
            raise MemoryLimitExceeded(f"page {index}: {self.limit_pages} pages in use")
        pool.write(klass, place, stored)
        self._replace(index, word | place << PAYLOAD_SHIFT)
        self.compr_data_size += size
        if word & HUGE:
            self.huge_pages += 1
            self._counters.huge_pages_since += 1

    def _write_same(self, index: PageIndex, page: memoryview) -> bool:
        """Store *page* as its fill word, if all its words are the same."""
        fill = page[:_WORD_BYTES].tobytes()
        if page.tobytes() != fill * (PAGE_SIZE // _WORD_BYTES):
            return False
        word = SAME
        if fill != ZERO_PAGE[:_WORD_BYTES]:
            self._fills[index] = int.from_bytes(fill, "little")
            word |= 1 << PAYLOAD_SHIFT
        self._replace(index, word)
        self.same_pages += 1
        return True

    def _replace(self, index: PageIndex, word: int) -> None:
        """Publish *word*, then give up what was there."""
        old = self._words[index]
        self._words[index] = word
        self._ac_time[index] = self.now_s
        self.pages_stored += 1
        if old:
            self._release(old)
            if old & PP_SLOT:
                self._claims.pop(index, None)

    def free(self, index: PageIndex) -> None:
        """Empty the slot at *index*."""
        old = self._words[index]
        if old:
            self._words[index] = 0
            self._ac_time[index] = 0
            self._release(old)
            if old & PP_SLOT:
                self._claims.pop(index, None)

    def _release(self, word: int) -> None:
        """Give up what *word*, no longer in the table, stood for."""
        self.pages_stored -= 1
        if word & SAME:
            self.same_pages -= 1
            return
        size = word & SIZE_MASK
        self._pool.free((size + CLASS_MASK) >> CLASS_SHIFT, word >> PAYLOAD_SHIFT)
        self.compr_data_size -= size
        if word & HUGE:
            self.huge_pages -= 1

    def discard(self, first: PageIndex, nr_pages: int) -> Steps:
        """Empty *nr_pages* slots in bounded steps; count all in notify_free."""
        self._counters.notify_free += nr_pages
        for start, words in self.table.scan(first, first + nr_pages):
            for count, index in enumerate(np.flatnonzero(words).tolist(), 1):
                self.free(PageIndex(start + index))
                if count % _FREES == 0:
                    yield None

    def claim(self, index: int) -> Claim | None:
        """Claim a page that a scan has chosen; None if it was accessed since."""
        if not self._words[index] & PP_SLOT:
            return None
        claim = Claim(PageIndex(index))
        self._claims[index] = claim
        return claim

    def holds(self, claim: Claim) -> bool:
        """Whether the page is as it was when it was claimed."""
        return self._claims.get(claim.index) is claim

    def size_of(self, claim: Claim) -> int:
        """Return the stored size of a claimed page, in bytes."""
        return self._words[claim.index] & SIZE_MASK

    def end_pass(self) -> None:
        """Take back what a pass has chosen and not worked on."""
        self._claims.clear()
        self.table.unmark(PP_SLOT)

    def peek(self, claim: Claim) -> bytes:
        """Return a claimed page without that counting as an access."""
        return self._page(claim.index, self._words[claim.index])

    def release(self, claim: Claim, flags: int = 0, *, keep_idle: bool = False) -> None:
        """End a claim, if it still holds, setting *flags* in the slot.

        The idle mark goes, because the page was worked on, unless *keep_idle*.
        """
        if self.holds(claim):
            del self._claims[claim.index]
            clears = PP_SLOT if keep_idle else PP_SLOT | IDLE
            self._words[claim.index] = self._words[claim.index] & ~clears | flags

    def exchange(self, claim: Claim, stored: Stored, priority: int) -> None:
        """Put *stored*, made by the algorithm of *priority*, in place of the page.

        The page is the same, so no limit applies; it looks untouched since boot.
        """
        # invariant: only a claim that holds may be exchanged.
        assert self.holds(claim), claim
        size = len(stored)
        klass = class_of(size)
        nr_pages_max = self._pool.nr_pages_max
        place = self._pool.alloc(klass)
        self._pool.write(klass, place, stored)
        # Recompression does not raise mem_used_max (zram_drv.c).
        self._pool.nr_pages_max = nr_pages_max
        word = size | priority << PRIORITY_SHIFT | place << PAYLOAD_SHIFT
        self._replace(claim.index, word | self._words[claim.index] & NO_WB)
        self._ac_time[claim.index] = 0
        self.compr_data_size += size

    def compact(self) -> Steps:
        """Return the steps of a compaction of the pool."""
        return Compaction(self.table, self._pool, self._counters).steps()
