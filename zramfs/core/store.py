"""The store: pages in, pages out, by index.

The life of a page is here and nowhere else: `write` chooses how to keep it
(same-filled, compressed, raw), `read` finds it again, and every payload that a
slot gives up goes through `_release`. What `Writer` and `Spilling` do to many slots
together they report, and it is counted here, too.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from zramfs.core.blocks import Blocks
from zramfs.core.claims import Claim, Claims
from zramfs.core.codecs import HUGE_CLASS_SIZE, Codec, Stored
from zramfs.core.compaction import Compaction
from zramfs.core.halves import compress_halves
from zramfs.core.header import Header
from zramfs.core.layout import Layout
from zramfs.core.pool import CLASS_MASK, CLASS_SHIFT, Arena, Pool
from zramfs.core.reader import MANY, ZERO_PAGE, Reader
from zramfs.core.recovery import rebuild
from zramfs.core.slots import (
    ACCESS_CLEARS,
    HUGE,
    NO_WB,
    PAYLOAD_SHIFT,
    PP_SLOT,
    PRIORITY_SHIFT,
    SAME,
    SIZE_MASK,
    WB,
)
from zramfs.core.spilled import Spilled
from zramfs.core.spilling import Spilling
from zramfs.core.stats import Counters
from zramfs.core.steps import Beside, Steps
from zramfs.core.table import SlotTable
from zramfs.core.writer import Kind, Writer, kinds_in_turn
from zramfs.errors import MemoryLimitExceeded, NotResident
from zramfs.units import PAGE_SHIFT, PAGE_SIZE, BlockIndex, PageIndex

_WORD_BYTES: Final = 8

_FREES: Final = 128
"""Slots emptied in one step of a discard: 0.1 ms, 0.7 where each gives a page back."""


class Store:
    """The pages of one initialised device.

    Lives in *arena*, as *layout* says. *codecs* are by priority, the primary first.
    """

    __slots__ = (
        "_ac_time",
        "_beside",
        "_claimed",
        "_codecs",
        "_compress",
        "_counters",
        "_fills",
        "_makes_chunks",
        "_page",
        "_pool",
        "_reader",
        "_words",
        "_writer",
        "blocks",
        "claims",
        "compr_data_size",
        "huge_pages",
        "limit_pages",
        "now_s",
        "nr_slots",
        "pages_stored",
        "same_pages",
        "spilling",
        "table",
    )

    def __init__(
        self,
        arena: Arena,
        layout: Layout,
        codecs: Sequence[Codec | None],
        header: Header,
        beside: Beside | None = None,
    ) -> None:
        nr_slots = layout.nr_slots
        self.table = SlotTable(arena, nr_slots)
        # What every request uses, without a step in between.
        self._words = self.table.words
        self._ac_time = self.table.ac_time
        self._fills = self.table.fills
        self._pool = Pool(arena, layout.pool, nr_slots, header)
        seals = arena.view[layout.seals : layout.pool]
        self.blocks = Blocks(layout.nr_blocks, seals, layout.seal_bytes)
        self.claims = Claims(self.table)
        # Whoever accesses a page takes it out of here.
        self._claimed = self.claims.held
        self._codecs = tuple(codecs)
        self._beside = beside
        primary = codecs[0]
        # invariant: there is always a primary algorithm.
        assert primary, "no primary algorithm"
        self._compress = primary.compress
        self._makes_chunks = primary.makes_chunks
        self._reader = Reader(self.table, self._pool, self._codecs)
        self._page = self._reader.page
        self._writer = Writer(self.table, self._pool, self.claims)
        self.spilling = Spilling(
            self.table, self._pool, self.blocks, self.claims, self._codecs
        )
        self._counters = Counters.from_buffer(header.counters)
        self.nr_slots = nr_slots
        self.now_s = 0
        """Seconds since boot, for access times; whoever drives the device sets it."""
        self.limit_pages = 0
        """mem_limit in pages; 0 is none."""
        self.pages_stored = 0
        self.same_pages = 0
        self.huge_pages = 0
        self.compr_data_size = 0

    def recover(self) -> None:
        """Derive from the slots what the last process to have the memory derived.

        Memory that no slot needs is given back.
        """
        found = rebuild(self.table, self._pool.rooms())
        self._pool.adopt(found.used)
        self.blocks.restore(found.blocks)
        self.pages_stored, self.same_pages = found.pages_stored, found.same_pages
        self.huge_pages, self.compr_data_size = found.huge_pages, found.compr_data_size

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped."""
        self.table.close()
        self.blocks.close()
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
        nr_objects = self.pages_stored - self.same_pages - self.blocks.nr_used
        needed = self.compr_data_size + (nr_objects << CLASS_SHIFT >> 1)
        return (self._pool.nr_pages << PAGE_SHIFT) - needed

    def reset_pool_pages_max(self) -> None:
        """Begin the high-water mark anew, at what is held now."""
        self._pool.nr_pages_max = self._pool.nr_pages

    def read(self, index: PageIndex, mark: int = 0) -> bytes:
        """Return the page at *index*; zeros if none is stored.

        Sets the flags *mark* in its slot. CorruptPage if its object does not give
        one page; NotResident, with nothing changed, if it is written back.
        """
        page = self.read_or_find(index, mark)
        if isinstance(page, bytes):
            return page
        raise NotResident(f"page {index} is in block {page}")

    def read_or_find(self, index: PageIndex, mark: int) -> bytes | BlockIndex:
        """Return the page at *index*, as `read`, or in which block it is instead."""
        word = self._words[index]
        if not word:
            return ZERO_PAGE
        if word & WB:
            return BlockIndex(word >> PAYLOAD_SHIFT)
        self._ac_time[index] = self.now_s
        accessed = word & ~ACCESS_CLEARS | mark
        if accessed != word:
            self._words[index] = accessed
            self._claimed.pop(index, None)
        return self._page(index, word)

    def read_many(self, first: PageIndex, nr_pages: int, mark: int = 0) -> bytes | None:
        """Return *nr_pages* pages from *first* on, as `read` each, in less time.

        None, with nothing changed, if they must be read one by one.
        """
        pages = self._reader.pages(first, nr_pages)
        if pages is not None:
            for index in self._reader.access(first, nr_pages, self.now_s, mark):
                self._claimed.pop(index, None)
        return pages

    def spilled(self, index: PageIndex) -> Spilled:
        """Return how to read the written-back page at *index*: an access, as any.

        Its block is pinned: it stays what it is until it is unpinned.
        """
        self._ac_time[index] = self.now_s
        self._counters.bd_reads += 1
        return self.spilling.pinned(index)

    def write(self, index: PageIndex, page: memoryview) -> None:
        """Store *page* at *index* in place of what was there.

        MemoryLimitExceeded if it does not fit, and then the old page is intact.
        """
        machine_words = page.cast("Q")
        if machine_words[0] == machine_words[-1] and self._write_same(index, page):
            return
        stored = self._compress(page)
        self._keep(index, page if len(stored) >= HUGE_CLASS_SIZE else stored)

    def write_many(self, first: PageIndex, pages: memoryview) -> None:
        """Store whole *pages* from *first* on, as `write` each, in less time.

        MemoryLimitExceeded if one does not fit: those before it are stored, and the
        others are as they were.
        """
        objects = compress_halves(pages, self._beside) if self._makes_chunks else None
        for kind, ats in kinds_in_turn(pages, objects):
            if kind is Kind.OBJECT and objects:
                index = PageIndex(first + ats.start)
                self._keep_many(index, objects[ats.start : ats.stop])
                continue
            store = self._keep if kind is Kind.HUGE else self.write
            for at in ats:
                page = pages[at << PAGE_SHIFT : (at + 1) << PAGE_SHIFT]
                store(PageIndex(first + at), page)

    def _keep_many(self, first: PageIndex, objects: Sequence[memoryview]) -> None:
        """Store *objects* from *first* on: together, if that is possible and pays."""
        delta = None
        if len(objects) >= MANY and not self.limit_pages:
            delta = self._writer.store(first, objects, self.now_s)
        if delta is None:
            for index, stored in enumerate(objects, first):
                self._keep(PageIndex(index), stored)
            return
        self.pages_stored += delta.pages_stored
        self.same_pages += delta.same_pages
        self.compr_data_size += delta.compr_data_size

    def _keep(self, index: PageIndex, stored: Stored) -> None:
        """Store what a page compresses to, or is, at *index*."""
        word = size = len(stored)
        if size == PAGE_SIZE:
            word |= HUGE
        pool = self._pool
        klass = (size + CLASS_MASK) >> CLASS_SHIFT
        place = pool.alloc(klass)
        if pool.nr_pages > pool.nr_pages_max:  # noqa: PLR1730  # max() takes longer
            pool.nr_pages_max = pool.nr_pages
        if self.limit_pages and pool.nr_pages > self.limit_pages:
            pool.free(klass, place)
            raise MemoryLimitExceeded(f"page {index}: {self.limit_pages} pages in use")
        pool.write(klass, place, stored)
        if word & HUGE:
            self.huge_pages += 1
            self._counters.huge_pages_since += 1
        self._replace(index, word | place << PAYLOAD_SHIFT)
        self.compr_data_size += size

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
        if old & HUGE:
            self._pool.let_go(old >> PAYLOAD_SHIFT)
        self._words[index] = word
        self._ac_time[index] = self.now_s
        self.pages_stored += 1
        if old:
            self._release(old)
            if old & PP_SLOT:
                self._claimed.pop(index, None)

    def free(self, index: PageIndex) -> None:
        """Empty the slot at *index*."""
        old = self._words[index]
        if old:
            if old & HUGE:
                self._pool.let_go(old >> PAYLOAD_SHIFT)
            self._ac_time[index] = 0
            self._words[index] = 0
            self._release(old)
            if old & PP_SLOT:
                self._claimed.pop(index, None)

    def _release(self, word: int) -> None:
        """Give up what *word*, no longer in the table, stood for."""
        self.pages_stored -= 1
        if word & SAME:
            self.same_pages -= 1
            return
        if word & WB:
            self.blocks.free(word >> PAYLOAD_SHIFT)
            return
        self._release_object(word)

    def _release_object(self, word: int) -> None:
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

    def peek(self, claim: Claim) -> bytes:
        """Return a claimed page without that counting as an access."""
        return self._page(claim.index, self._words[claim.index])

    def exchange(self, claim: Claim, stored: Stored, priority: int) -> None:
        """Put *stored*, made by the algorithm of *priority*, in place of the page.

        No limit applies, and mem_used_max stays; it looks untouched since boot.
        """
        # invariant: only a claim that holds may be exchanged.
        assert self.claims.holds(claim), claim
        index, pool = claim.index, self._pool
        old = self._words[index]
        size = len(stored)
        klass = (size + CLASS_MASK) >> CLASS_SHIFT
        nr_pages_max = pool.nr_pages_max
        place = pool.alloc(klass)
        pool.write(klass, place, stored)
        pool.nr_pages_max = nr_pages_max
        word = size | priority << PRIORITY_SHIFT | place << PAYLOAD_SHIFT
        if old & HUGE:
            pool.let_go(old >> PAYLOAD_SHIFT)
        self._words[index] = word | old & NO_WB
        self._ac_time[index] = 0
        del self._claimed[index]
        self.compr_data_size += size
        self._release_object(old)

    def load(self, indexes: Sequence[int], buffer: memoryview) -> Sequence[int]:
        """Copy pages into *buffer*, as blocks are to hold them; return whose.

        What cannot be decompressed is passed over.
        """
        return self._reader.load(indexes, buffer, compressed=self.spilling.compressed)

    def begin_load(
        self, indexes: Sequence[int], buffer: memoryview
    ) -> Callable[[], bool] | None:
        """Begin to do that in another thread; return what waits for it.

        None if there is none, or these pages are to be loaded at once.
        """
        if self._beside is None or self.spilling.compressed:
            return None
        return self._reader.begin_load(indexes, buffer, self._beside)

    def spill(self, indexes: Sequence[int], blocks: range, owner: object) -> None:
        """Let the slots of pages that *owner* still claims point to their *blocks*.

        Their objects are given up; the blocks of the others are.
        """
        nr_bytes, nr_huge = self.spilling.spill(indexes, blocks, owner)
        self.compr_data_size -= nr_bytes
        self.huge_pages -= nr_huge

    def compact(self) -> Steps:
        """Return the steps of a compaction of the pool."""
        return Compaction(self.table, self._pool, self._counters).steps()
