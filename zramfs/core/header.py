"""The header of a device's memory: what no scan of the slot table can tell.

It lies before the arena, and is there as long as the memory is, also while the
device has no disksize:

    0        words      `HeaderWords`: what this is, the life, limits, openers
    1 KiB    counters   `zramfs.core.stats.Counters`
    2 KiB    paths      the counters of the data paths
    2.5 KiB  pool       `zramfs.core.pool.PoolWords`
    3 KiB    keys       of the spill, and what else must never be on a disk
    4 KiB    init       the connection's INIT request, for whoever takes it over
    8 KiB    openers    words for whoever counts them over a restart: the request
                        that counts, the count before; and the store to disksize
    12 KiB   config, twice, in halves of what is left

Everything is in 64-bit words that one aligned store changes; on x86-64 stores are
seen in their order, and there is one writer, so that no fence is needed. Whoever
takes over after a crash sees a word's old value or its new one. The config, a text
of any length, is written into the half that is not in use; then one store of its
length, and of which half it is, makes it the one.

Areas are larger than what is in them: words may be added at an end without a new
FORMAT_VERSION, and read as 0 in older memory. Anything else is a new version.
"""

import ctypes
from inspect import get_annotations
from typing import Final, TypeVar

from zramfs.errors import OutOfMemory, UnknownFormat

MAGIC: Final = int.from_bytes(b"zramfs\0\0", "little")
FORMAT_VERSION: Final = 1

_COUNTERS: Final = 1 << 10
_PATHS: Final = 2 << 10
_POOL: Final = 5 << 9
_KEYS: Final = 3 << 10
_INIT: Final = 4 << 10
_OPENERS: Final = 8 << 10
_CONFIG: Final = 12 << 10

HEADER_BYTES: Final = 128 << 20
"""With two configs of nearly 64 MiB, for dictionaries; sparse, as all the memory."""


class Words(ctypes.Structure):
    """Named words, in memory of their own or, with `from_buffer`, in a header's.

    ctypes, because ``x.reads += 1`` takes 38 ns, and 100 with properties; with an
    attribute of Python's own it takes 14.
    """

    def values(self) -> dict[str, int]:
        """Return the words by name, in their order."""
        return {name: getattr(self, name) for name in get_annotations(type(self))}

    def clear(self) -> None:
        """Set all words to 0."""
        for name in get_annotations(type(self)):
            setattr(self, name, 0)


T = TypeVar("T", bound=Words)


def words(kind: type[T]) -> type[T]:
    """Make a field of 64 bits of each annotated name in *kind*, in that order."""
    kind._fields_ = [(name, ctypes.c_uint64) for name in get_annotations(kind)]
    return kind


@words
class HeaderWords(Words):
    """The first words of the header."""

    magic: int
    version: int
    state: int
    """The state of the device, by its place in `zramfs.core.lifecycle.State`."""
    nr_slots: int
    """Pages of the device; true in READY only."""
    nr_blocks: int
    """Blocks of the backing device, 0 without; true in READY only."""
    config: int
    """Length of the config in bytes, shifted by one, and in bit 0 its half."""
    init_length: int
    """Length of the INIT request, 0 before there is one."""
    openers: int
    """How many open files the swapfile has."""
    mem_limit: int
    """Most bytes that the pool may hold; 0 is no limit."""
    rw_page: int
    """The mode of the data paths, by its place and from 1 on; 0 before it is set."""
    writeback_limit: int
    writeback_limit_enable: int
    writeback_batch_size: int
    compressed_writeback: int
    nonce: int
    """The next nonce of the spill's encryption; never set back."""
    seal_bytes: int
    """What is kept in memory of each block; true in READY only."""


class Header:
    """The header in *view*; one of its own, that dies with the process, without.

    Zeros become a new header. UnknownFormat if it is another program's, or of a
    format that this one does not know.
    """

    __slots__ = (
        "_configs",
        "counters",
        "init",
        "keys",
        "openers",
        "paths",
        "pool",
        "words",
    )

    def __init__(self, view: memoryview | None = None) -> None:
        if view is None:
            view = memoryview(bytearray(_CONFIG + (4 << 10)))
        self.words = HeaderWords.from_buffer(view)
        self.counters = view[_COUNTERS:_PATHS]
        """Where the device counts."""
        self.paths = view[_PATHS:_POOL]
        """Where the data paths count."""
        self.pool = view[_POOL:_KEYS]
        """What the pool cannot derive from the slots."""
        self.keys = view[_KEYS:_INIT]
        """The keys of the spill."""
        self.init = view[_INIT:_OPENERS]
        """The INIT request; `words.init_length` says how long it is."""
        self.openers = view[_OPENERS:_CONFIG].cast("Q")
        """Words for whoever counts openers."""
        half = (len(view) - _CONFIG) // 2
        self._configs = view[_CONFIG : _CONFIG + half], view[_CONFIG + half :]
        self._check()

    def _check(self) -> None:
        first = self.words
        if not first.magic and not first.version:
            first.version = FORMAT_VERSION
            first.magic = MAGIC
        if first.magic != MAGIC:
            raise UnknownFormat("this is not the memory of a zramfs device")
        if first.version != FORMAT_VERSION:
            raise UnknownFormat(
                f"the memory is of format {first.version}, and this is a program for "
                f"format {FORMAT_VERSION}"
            )

    def clear_pool(self) -> None:
        """Forget what a pool had here."""
        self.pool[:] = bytes(len(self.pool))

    @property
    def config(self) -> bytes:
        """The config; empty before one is set. OutOfMemory if one is too long."""
        which = self.words.config
        return bytes(self._configs[which & 1][: which >> 1])

    @config.setter
    def config(self, text: bytes) -> None:
        half = ~self.words.config & 1
        room = self._configs[half]
        if len(text) > len(room):
            raise OutOfMemory(f"a configuration of {len(text)} bytes is too long")
        room[: len(text)] = text
        self.words.config = len(text) << 1 | half
