"""The compression algorithms: what turns a page into an object and back.

Parameters and the stored bytes are those of the kernel's backends
(``drivers/block/zram/backend_*.c``, Linux 7.3), so that compr_data_size agrees
with the kernel's for the same pages: raw LZ4 blocks, zstd frames of level 3,
raw deflate with a window of 12 bits. For lz4 that takes cramjam: the LZ4 of
python-lz4, also 1.9, finds other matches and stores 0.7 % more of /usr/bin.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import cramjam
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

Stored = Page | cramjam.Buffer
"""What is stored of a page: it itself, or what it compresses to."""

DECOMPRESS_ERRORS: Final = (
    cramjam.DecompressionError,
    lz4.block.LZ4BlockError,
    zstandard.ZstdError,
    zlib.error,
    MemoryError,  # a zstd frame names its size, and a corrupt one any size
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What `algorithm_params` says of one algorithm; None is the default."""

    level: int | None = None
    dictionary: bytes | None = None
    winbits: int | None = None
    """Of deflate: the logarithm of its window, negative without a header."""


DEFAULTS: Final = Params()


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """One algorithm, ready to use.

    *compress* takes a page and returns its object. *decompress* takes an object
    and returns the page; of an object that is no such thing it may return anything
    or raise one of DECOMPRESS_ERRORS, so that the caller must look at the length.
    """

    name: str
    compress: Callable[[Page], Stored]
    decompress: Callable[[Page], bytes]
    compress_many: Callable[[list[bytes]], list[bytes]] | None = None
    """Compresses pages on all processors in one call, if the library can; other
    threads run meanwhile."""
    is_lz4: bool = False
    """Whether an object is a plain LZ4 block, which needs no dictionary."""
    makes_chunks: bool = False
    """Whether `compress_pages` in `zramfs.core.chunks` makes the same objects."""


_LZ4_LEVELS: Final = range(1, 65537 + 1)  # LZ4_ACCELERATION_MAX
_LZ4HC_LEVELS: Final = range(1, 16 + 1)  # LZ4HC_MAX_CLEVEL, which lz4 clamps to 12
_LZ4HC_MOST: Final = 12
_ZSTD_LEVELS: Final = range(-131072, 22 + 1)  # zstd_min_clevel(), zstd_max_clevel()
_ZSTD_DEFAULT: Final = 3  # zstd_default_clevel()
_DEFLATE_LEVELS: Final = range(-1, 9 + 1)  # Z_DEFAULT_COMPRESSION, Z_BEST_COMPRESSION
_DEFLATE_WINBITS: Final = -12  # DEFLATE_DEF_WINBITS: raw, a window of a page
_DEFLATE_WINDOWS: Final = frozenset({*range(-15, -8), *range(9, 16)})


def _level(name: str, params: Params, default: int, levels: range) -> int:
    level = default if params.level is None else params.level
    if level not in levels:
        limits = f"{levels.start} to {levels.stop - 1}"
        raise InvalidValue(f"{name} has no level {level}, only {limits}")
    return level


def _lz4(params: Params) -> Codec:
    level = _level("lz4", params, 1, _LZ4_LEVELS)
    if level == 1 and not params.dictionary:
        return Codec(
            name="lz4",
            compress=partial(cramjam.lz4.compress_block, store_size=False),
            decompress=_lz4_page,
            is_lz4=True,
            makes_chunks=True,
        )
    # cramjam knows neither levels nor dictionaries.
    known = {"dict": params.dictionary} if params.dictionary else {}
    return Codec(
        name="lz4",
        compress=partial(
            lz4.block.compress,
            mode="fast",
            acceleration=level,
            store_size=False,
            **known,
        ),
        decompress=partial(lz4.block.decompress, uncompressed_size=PAGE_SIZE, **known),
        is_lz4=not known,
    )


_lz4_out: Final = bytearray(PAGE_SIZE)


def _lz4_page(stored: Page) -> bytes:
    """Decompress into one buffer and copy: half of what allocating a page costs."""
    size = cramjam.lz4.decompress_block_into(stored, _lz4_out, output_len=PAGE_SIZE)
    return bytes(_lz4_out) if size == PAGE_SIZE else bytes(_lz4_out[:size])


def _lz4hc(params: Params) -> Codec:
    level = _level("lz4hc", params, 9, _LZ4HC_LEVELS)  # LZ4HC_DEFAULT_CLEVEL
    known = {"dict": params.dictionary} if params.dictionary else {}
    return Codec(
        name="lz4hc",
        compress=partial(
            lz4.block.compress,
            mode="high_compression",
            compression=min(level, _LZ4HC_MOST),
            store_size=False,
            **known,
        ),
        decompress=partial(lz4.block.decompress, uncompressed_size=PAGE_SIZE, **known),
        is_lz4=not known,
    )


def _zstd(params: Params) -> Codec:
    level = _level("zstd", params, _ZSTD_DEFAULT, _ZSTD_LEVELS)
    dictionary = None
    if params.dictionary:
        dictionary = zstandard.ZstdCompressionDict(params.dictionary)
    # As zstd_get_params(level, PAGE_SIZE): tables for a page, not for a stream.
    compressor = zstandard.ZstdCompressor(
        dict_data=dictionary,
        compression_params=zstandard.ZstdCompressionParameters.from_level(
            level, source_size=PAGE_SIZE
        ),
    )
    try:
        decompressor = zstandard.ZstdDecompressor(dict_data=dictionary)
        # The compressor looks at its dictionary only when it is used.
        decompressor.decompress(compressor.compress(bytes(PAGE_SIZE)))
    except zstandard.ZstdError as error:
        raise InvalidValue(f"zstd refuses the dictionary: {error}") from error

    def compress_many(pages: list[bytes]) -> list[bytes]:
        found = compressor.multi_compress_to_buffer([*pages], threads=-1)
        return [found[index].tobytes() for index in range(len(found))]

    return Codec(
        name="zstd",
        compress=compressor.compress,
        decompress=partial(decompressor.decompress, max_output_size=PAGE_SIZE),
        compress_many=compress_many,
    )


def _deflate(params: Params) -> Codec:
    level = _level("deflate", params, zlib.Z_DEFAULT_COMPRESSION, _DEFLATE_LEVELS)
    winbits = _DEFLATE_WINBITS if params.winbits is None else params.winbits
    if winbits not in _DEFLATE_WINDOWS:
        raise InvalidValue(f"deflate has no window of {winbits} bits")

    def compress(page: Page) -> bytes:
        stream = zlib.compressobj(level, wbits=winbits)
        return stream.compress(page) + stream.flush()

    def decompress(stored: Page) -> bytes:
        stream = zlib.decompressobj(wbits=winbits)
        return stream.decompress(stored, PAGE_SIZE)

    return Codec(name="deflate", compress=compress, decompress=decompress)


_FACTORIES: Final[dict[str, Callable[[Params], Codec]]] = {
    "lz4": _lz4,
    "lz4hc": _lz4hc,
    "zstd": _zstd,
    "deflate": _deflate,
}

ALGORITHMS: Final = tuple(_FACTORIES)
"""The names, in the kernel's order; lzo, lzo-rle and 842 have no kept package."""

DEFAULT_ALGORITHM: Final = "lz4"


def open_codec(name: str, params: Params = DEFAULTS) -> Codec:
    """Make the codec *name* ready; InvalidValue if it refuses its parameters."""
    try:
        factory = _FACTORIES[name]
    except KeyError:
        known = " ".join(ALGORITHMS)
        raise InvalidValue(f"no algorithm {name!r} here, only: {known}") from None
    return factory(params)
