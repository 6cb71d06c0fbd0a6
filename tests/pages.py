"""Pages by name, the same bytes as those the kernel was asked to store.

The kinds are those of the helper that questioned real zram devices, so that sizes
and checksums seen there can be expected here:

    zero            all zeros
    same:HEX        every 8-byte word is HEX
    near            as same:1, but for the last word, which is 2
    text            repeated ASCII with the page number in it
    half            2048 random bytes, then zeros
    part:N[:SEED]   N random bytes, then zeros
    rand[:SEED]     random bytes
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from itertools import islice
from typing import Final

from zramfs.core.codecs import open_codec
from zramfs.units import PAGE_SIZE

_U64 = (1 << 64) - 1
_HALF_SEED = 7


def _random_words(seed: int, page: int) -> Iterator[int]:
    """Yield the numbers of splitmix64."""
    state = (seed * 1000003 + page * 7919 + 12345) & _U64
    while True:
        state = (state + 0x9E3779B97F4A7C15) & _U64
        word = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _U64
        word = (word ^ word >> 27) * 0x94D049BB133111EB & _U64
        yield word ^ word >> 31


@lru_cache(maxsize=4096)
def _random_bytes(size: int, seed: int, page: int) -> bytes:
    words = islice(_random_words(seed, page), (size + 7) // 8)
    return b"".join(word.to_bytes(8, "little") for word in words)[:size]


def _text(page: int) -> bytes:
    line = b"page %08d the quick brown fox jumps\n" % page
    return (line * (PAGE_SIZE // len(line) + 1))[:PAGE_SIZE]


def _random(size: int, page: int, seed: int = 1) -> bytes:
    return _random_bytes(size, seed, page).ljust(PAGE_SIZE, b"\0")


def _same(word: int) -> bytes:
    return word.to_bytes(8, "little") * (PAGE_SIZE // 8)


_KINDS: Final[Mapping[str, Callable[[int, list[str]], bytes]]] = {
    "zero": lambda _page, _: bytes(PAGE_SIZE),
    "same": lambda _page, words: _same(int(words[0], 16)),
    "near": lambda _page, _: _same(1)[:-8] + (2).to_bytes(8, "little"),
    "text": lambda page, _: _text(page),
    "half": lambda page, _: _random(PAGE_SIZE // 2, page, _HALF_SEED),
    "part": lambda page, words: _random(int(words[0]), page, *map(int, words[1:])),
    "rand": lambda page, words: _random(PAGE_SIZE, page, *map(int, words)),
}


def make_page(kind: str, page: int = 0) -> bytes:
    """Return the page of *kind* with the number *page*."""
    name, *arguments = kind.split(":")
    return _KINDS[name](page, arguments)


@cache
def part_of_size(size: int) -> str:
    """Return the kind of page that lz4 compresses to exactly *size* bytes."""
    # Random bytes are one literal run (one byte more in 255), a header and a tail.
    codec = open_codec("lz4")
    return next(
        kind
        for kind in (f"part:{count}" for count in range(size - 40, size))
        if len(codec.compress(make_page(kind))) == size
    )
