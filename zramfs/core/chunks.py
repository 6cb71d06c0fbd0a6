"""Chunks: many pages compressed, or decompressed, in one call.

c-blosc cuts data into blocks and makes a plain LZ4 block of each, with the LZ4 and
the settings that `lz4` here has, so with blocks of a page the objects of a chunk are
byte for byte those of pages compressed one by one. A chunk is

    header      version 2, version 1, flags, typesize; bytes, bytes in a block,
                bytes in the chunk
    offsets     where in the chunk each block begins, 4 bytes each
    blocks      the size of the object in 4 bytes, then the object: LZ4, or the
                page itself if the size is a page's

A header and offsets are only ever read that are made here, so what a corrupt object
can do ends in LZ4's decompressor, which stays within its buffers and is asked for a
whole page.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

import blosc
import numpy as np
from blosc import blosc_extension

from zramfs.units import PAGE_SHIFT, PAGE_SIZE

Sizes = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Sizes of objects in bytes."""

_HEADER: Final = Struct("<BBBBIII")
_VERSIONS: Final = (2, 1)  # BLOSC1_VERSION_FORMAT, BLOSC_LZ4_VERSION_FORMAT
_IS_COPY: Final = 1 << 1  # BLOSC_MEMCPYED
_LZ4_BLOCKS: Final = 1 << 5 | 1 << 4  # BLOSC_LZ4_FORMAT, each block one stream

_TYPE_SIZE: Final = 64
"""More than c-blosc's MAX_SPLITS: of smaller types it makes several streams."""

_FASTEST: Final = 9
"""The level of c-blosc's that is LZ4's acceleration of 1."""

_SIZE_BYTES: Final = 4

blosc.set_blocksize(PAGE_SIZE)
blosc.set_nthreads(1)  # others would be started anew for each call
blosc.set_releasegil(True)


def compress_pages(pages: memoryview) -> list[memoryview] | None:
    """Return the object of each page, or the page where that is not smaller.

    None if next to nothing gets smaller: then there is no chunk.
    """
    chunk: bytes = blosc.compress(
        pages,
        typesize=_TYPE_SIZE,
        clevel=_FASTEST,
        shuffle=blosc.NOSHUFFLE,
        cname="lz4",
    )
    _, _, flags, *_ = _HEADER.unpack_from(chunk)
    if flags & _IS_COPY:
        return None
    starts = np.empty((len(pages) >> PAGE_SHIFT) + 1, np.int64)
    starts[:-1] = np.frombuffer(chunk, "<i4", starts.size - 1, _HEADER.size)
    starts[-1] = len(chunk)
    # One thread has made them one behind the other.
    starts += _SIZE_BYTES
    ends = (starts[1:] - _SIZE_BYTES).tolist()
    view = memoryview(chunk)
    return [view[at:end] for at, end in zip(starts.tolist(), ends, strict=False)]


def same_pages(pages: memoryview) -> frozenset[int]:
    """Return which of *pages* are one machine word, repeated."""
    words = np.frombuffer(pages, np.uint64).reshape(-1, PAGE_SIZE // 8)
    likely = np.flatnonzero(words[:, 0] == words[:, -1]).tolist()
    return frozenset(at for at in likely if (words[at] == words[at, 0]).all())


def decompress_pages(
    objects: Sequence[memoryview | bytes], sizes: Sizes
) -> bytes | None:
    """Return the pages of *objects*, which have *sizes*; None if one is corrupt.

    An object of a page's size is the page itself.
    """
    try:
        pages: bytes = blosc.decompress(make_chunk(objects, sizes))
    except blosc_extension.error:
        return None
    return pages


def decompress_chunk(chunk: bytes, buffer: memoryview) -> bool:
    """Put the pages of *chunk* into *buffer*; return whether none is corrupt."""
    nr_bytes = _HEADER.unpack_from(chunk)[4]
    # invariant: the library is told where to write, and not how much there is.
    assert nr_bytes <= len(buffer), "the pages do not fit"
    memory = np.frombuffer(buffer, np.uint8).__array_interface__
    try:
        blosc.decompress_ptr(chunk, memory["data"][0])
    except blosc_extension.error:
        return False
    return True


def make_chunk(objects: Sequence[memoryview | bytes], sizes: Sizes) -> bytes:
    """Return the chunk of *objects*, which have *sizes*, with a copy of each."""
    nr_pages = len(objects)
    first = _HEADER.size + nr_pages * _SIZE_BYTES
    ends = first + np.cumsum(sizes + _SIZE_BYTES)
    starts = ends - (sizes + _SIZE_BYTES)
    header = _HEADER.pack(
        *(*_VERSIONS, _LZ4_BLOCKS, _TYPE_SIZE),
        *(nr_pages << PAGE_SHIFT, PAGE_SIZE, int(ends[-1])),
    )
    parts: list[memoryview | bytes] = [header, starts.astype("<i4").tobytes()]
    parts += (2 * nr_pages) * (b"",)
    parts[2::2] = sizes.astype("<i4").view("V4").tolist()
    parts[3::2] = objects
    return b"".join(parts)
