"""The compression algorithms: what turns a page into an object and back.

Parameters and the stored bytes are those of the kernel's backends
(``drivers/block/zram/backend_*.c``, Linux 7.3), so that compr_data_size agrees
with the kernel's for the same pages: raw LZ4 blocks, zstd frames of level 3,
raw deflate with a window of 12 bits.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import lz4.block
import zstandard

from zramfs.errors import InvalidValue
from zramfs.units import PAGE_SIZE

Page = bytes | bytearray | memoryview
"""PAGE_SIZE bytes of user data."""

HUGE_CLASS_SIZE: Final = 3625
"""Objects of this size and more are stored raw.

``zs_huge_class_size()`` on x86-64 with chains of 8 pages: with the kernel's
value, huge_pages counts the same pages as there.
"""

DECOMPRESS_ERRORS: Final = (
    lz4.block.LZ4BlockError,
    zstandard.ZstdError,
    zlib.error,
    MemoryError,  # a zstd frame names its size, and a corrupt one any size
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """One algorithm, ready to use.

    *compress* takes a page and returns its object. *decompress* takes an object
    and returns the page; of an object that is no such thing it may return anything
    or raise one of DECOMPRESS_ERRORS, so that the caller must look at the length.
    """

    name: str
    compress: Callable[[Page], bytes]
    decompress: Callable[[Page], bytes]


def _lz4() -> Codec:
    return Codec(
        name="lz4",
        compress=partial(lz4.block.compress, store_size=False),
        decompress=partial(lz4.block.decompress, uncompressed_size=PAGE_SIZE),
    )


def _lz4hc() -> Codec:
    return Codec(
        name="lz4hc",
        compress=partial(
            lz4.block.compress,
            mode="high_compression",
            compression=9,  # LZ4HC_DEFAULT_CLEVEL
            store_size=False,
        ),
        decompress=partial(lz4.block.decompress, uncompressed_size=PAGE_SIZE),
    )


def _zstd() -> Codec:
    compressor = zstandard.ZstdCompressor(level=3)  # ZSTD_defaultCLevel()
    decompressor = zstandard.ZstdDecompressor()
    return Codec(
        name="zstd",
        compress=compressor.compress,
        decompress=partial(decompressor.decompress, max_output_size=PAGE_SIZE),
    )


_DEFLATE_WINBITS: Final = -12  # raw deflate, the kernel's DEFLATE_DEF_WINBITS


def _deflate() -> Codec:
    def compress(page: Page) -> bytes:
        stream = zlib.compressobj(wbits=_DEFLATE_WINBITS)
        return stream.compress(page) + stream.flush()

    def decompress(stored: Page) -> bytes:
        stream = zlib.decompressobj(wbits=_DEFLATE_WINBITS)
        return stream.decompress(stored, PAGE_SIZE)

    return Codec(name="deflate", compress=compress, decompress=decompress)


_FACTORIES: Final[dict[str, Callable[[], Codec]]] = {
    "lz4": _lz4,
    "lz4hc": _lz4hc,
    "zstd": _zstd,
    "deflate": _deflate,
}

ALGORITHMS: Final = tuple(_FACTORIES)
"""The names, in the kernel's order; lzo, lzo-rle and 842 have no kept package."""

DEFAULT_ALGORITHM: Final = "lz4"


def open_codec(name: str) -> Codec:
    """Make the codec *name* ready; InvalidValue if there is none."""
    try:
        factory = _FACTORIES[name]
    except KeyError:
        known = " ".join(ALGORITHMS)
        raise InvalidValue(f"no algorithm {name!r} here, only: {known}") from None
    return factory()
