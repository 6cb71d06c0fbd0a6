"""The reader: from a slot's word to its page, for one page or for many.

A page costs about 0.6 us of Python when it is read alone, besides what its algorithm
takes. The pages of a large request share that: their objects become one chunk, which
is decompressed in one call. In there a same-filled page is an LZ4 block like others,
and what no LZ4 has made is decompressed before and then copied.

Nothing is marked here, unless `access` is asked to.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from zramfs.core.chunks import Sizes, decompress_chunk, decompress_pages, make_chunk
from zramfs.core.codecs import Codec, Page
from zramfs.core.pool import CLASS_MASK, CLASS_SHIFT, Pool, class_of
from zramfs.core.slots import (
    ACCESS_CLEARS,
    HUGE,
    PAYLOAD_SHIFT,
    PRIORITY_MASK,
    PRIORITY_SHIFT,
    SAME,
    SIZE_MASK,
    WB,
)
from zramfs.core.spilled import decompressed
from zramfs.core.steps import Beside, Work
from zramfs.core.table import SlotTable, Words
from zramfs.errors import CorruptPage
from zramfs.units import PAGE_SHIFT, PAGE_SIZE, PageIndex

MANY: Final = 16
"""Pages from which reading all at once is quicker than one by one; 8 take longer."""

ZERO_PAGE: Final = bytes(PAGE_SIZE)

_WORD_BYTES: Final = 8

_LZ4_END: Final = 5
"""The last bytes of an LZ4 block are literals."""

_LZ4_MATCH: Final = PAGE_SIZE - _WORD_BYTES - _LZ4_END - 4 - 15
"""What is left of a match's length when the token has its share of it."""


def same_block(fill: bytes) -> bytes:
    """Return the LZ4 block of a page of the machine word *fill*.

    It says: these 8 bytes, then on with what was 8 bytes ago, then these 5 bytes.
    """
    return b"".join(
        (
            bytes((_WORD_BYTES << 4 | 15,)),
            fill,
            _WORD_BYTES.to_bytes(2, "little"),
            b"\xff" * (_LZ4_MATCH // 255),
            bytes((_LZ4_MATCH % 255, _LZ4_END << 4)),
            fill[-_LZ4_END:],
        )
    )


_ZEROS: Final = same_block(bytes(_WORD_BYTES))


class Reader:
    """Reads the pages of a table; *codecs* are the algorithms by priority."""

    __slots__ = ("_codecs", "_fills", "_is_lz4", "_pool", "_table")

    def __init__(
        self, table: SlotTable, pool: Pool, codecs: Sequence[Codec | None]
    ) -> None:
        self._table = table
        self._fills = table.fills
        self._pool = pool
        self._codecs = codecs
        # By priority, whether decompressing an object takes no more than LZ4.
        self._is_lz4 = np.array([codec is None or codec.is_lz4 for codec in codecs])

    def page(self, index: PageIndex, word: int) -> bytes:
        """Return the resident page of *word*; CorruptPage if there is none."""
        if word & SAME:
            return self._fill(index, word) * (PAGE_SIZE // _WORD_BYTES)
        size = word & SIZE_MASK
        klass = (size + CLASS_MASK) >> CLASS_SHIFT
        stored = self._pool.read(klass, word >> PAYLOAD_SHIFT, size)
        if word & HUGE:
            return bytes(stored)
        codec = self._codecs[(word & PRIORITY_MASK) >> PRIORITY_SHIFT]
        # invariant: only what is configured has compressed a page.
        assert codec, word
        return decompressed(index, codec, stored)

    def _fill(self, index: PageIndex, word: int) -> bytes:
        """Return the machine word of a same-filled page."""
        return (self._fills[index] if word >> PAYLOAD_SHIFT else 0).to_bytes(
            _WORD_BYTES, "little"
        )

    def load(
        self, indexes: Sequence[int], buffer: memoryview, *, compressed: bool
    ) -> Sequence[int]:
        """Copy what blocks are to hold into *buffer*: pages, or *compressed* ones.

        Returns which pages there are; what cannot be decompressed is passed over.
        """
        chunk = None if compressed else self._chunk(indexes)
        if chunk and decompress_chunk(chunk, buffer):
            return indexes
        loaded: list[int] = []
        for index in indexes:
            start = len(loaded) << PAGE_SHIFT
            try:
                page = self._block(index, compressed=compressed)
            except CorruptPage:
                continue
            buffer[start : start + len(page)] = page
            if len(page) < PAGE_SIZE:
                buffer[start + len(page) : start + PAGE_SIZE] = ZERO_PAGE[len(page) :]
            loaded.append(index)
        return loaded

    def begin_load(
        self, indexes: Sequence[int], buffer: memoryview, beside: Beside
    ) -> Callable[[], bool] | None:
        """Begin to copy pages into *buffer*; return what waits until they are there.

        That says whether they all are. None if they must be looked at one by one. The
        pages are those of now, whatever becomes of them meanwhile.
        """
        chunk = self._chunk(indexes)
        if not chunk:
            return None
        found: list[bool] = []
        wait = beside.begin(Work(lambda: found.append(decompress_chunk(chunk, buffer))))

        def ended() -> bool:
            wait()
            return found[0]

        return ended

    def _chunk(self, indexes: Sequence[int]) -> bytes | None:
        """Return a chunk of many pages that are all LZ4's, or raw; None if not."""
        if len(indexes) < MANY:
            return None
        table = np.frombuffer(self._table.words, np.uint64)
        words = table[indexes]
        priorities = (words & np.uint64(PRIORITY_MASK)) >> np.uint64(PRIORITY_SHIFT)
        if not self._is_lz4[priorities].all():
            return None
        sizes = (words & np.uint64(SIZE_MASK)).astype(np.int64)
        places = (words >> np.uint64(PAYLOAD_SHIFT)).astype(np.int64)
        return make_chunk(self._pool.read_many(sizes, places), sizes)

    def _block(self, index: int, *, compressed: bool) -> Page:
        """Return what a block is to hold of a page, but for zeros behind it."""
        word = self._table.words[index]
        if not compressed:
            return self.page(PageIndex(index), word)
        size = word & SIZE_MASK
        return self._pool.read(class_of(size), word >> PAYLOAD_SHIFT, size)

    def pages(self, first: PageIndex, nr_pages: int) -> bytes | None:
        """Return pages that follow each other; None if that takes a look at each.

        That is if one is written back or corrupt, or if the primary algorithm is not
        LZ4.
        """
        words = self._words(first, nr_pages)
        flags = int(np.bitwise_or.reduce(words))
        if not flags:
            return bytes(nr_pages << PAGE_SHIFT)
        if not self._is_lz4[0] or flags & WB:
            return None
        sizes = (words & np.uint64(SIZE_MASK)).astype(np.int64)
        places = (words >> np.uint64(PAYLOAD_SHIFT)).astype(np.int64)
        objects: list[memoryview | bytes] = [*self._pool.read_many(sizes, places)]
        if flags & PRIORITY_MASK:
            try:
                self._decompress_others(first, words, objects, sizes)
            except CorruptPage:
                return None
        if not sizes.all():
            for at in np.flatnonzero(sizes == 0).tolist():
                objects[at] = block = self._same_block(PageIndex(first + at))
                sizes[at] = len(block)
        return decompress_pages(objects, sizes)

    def _words(self, first: PageIndex, nr_pages: int) -> Words:
        return np.frombuffer(self._table.words[first : first + nr_pages], np.uint64)

    def _decompress_others(
        self,
        first: PageIndex,
        words: Words,
        objects: list[memoryview | bytes],
        sizes: Sizes,
    ) -> None:
        """Put the page in place of each object that is not LZ4's."""
        priorities = (words & np.uint64(PRIORITY_MASK)) >> np.uint64(PRIORITY_SHIFT)
        for at in np.flatnonzero(~self._is_lz4[priorities]).tolist():
            objects[at] = self.page(PageIndex(first + at), int(words[at]))
            sizes[at] = PAGE_SIZE

    def _same_block(self, index: PageIndex) -> bytes:
        """Return an LZ4 block of the same-filled or empty page at *index*."""
        word = self._table.words[index]
        return same_block(self._fill(index, word)) if word >> PAYLOAD_SHIFT else _ZEROS

    def access(
        self, first: PageIndex, nr_pages: int, now_s: int, mark: int
    ) -> Iterable[int]:
        """Mark stored pages: accessed at *now_s*, with the flags *mark*.

        Returns those whose marks have changed.
        """
        words = self._words(first, nr_pages)
        stored = words != 0
        times = self._table.ac_time[first : first + nr_pages]
        np.frombuffer(times, np.uint32)[stored] = now_s
        accessed = words & ~np.uint64(ACCESS_CLEARS) | np.uint64(mark)
        changed = stored & (accessed != words)
        if not changed.any():
            return ()
        words[changed] = accessed[changed]
        indexes: list[int] = (np.flatnonzero(changed) + first).tolist()
        return indexes
