"""The backing device, and what may be written back to it.

One is chosen while the device has no disksize, and let go of by a reset. The
settings stay as they are, over a reset too, as in the kernel.
"""

from collections.abc import Callable
from typing import Final, Protocol

from zramfs.core.header import HeaderWords
from zramfs.errors import InvalidValue

BATCH_SIZE: Final = 32
"""Writes in flight, unless writeback_batch_size says otherwise."""


class Backing(Protocol):
    """An open backing device."""

    @property
    def path(self) -> str:
        """Its absolute path."""

    @property
    def nr_blocks(self) -> int:
        """How many pages it has room for."""

    @property
    def seal_bytes(self) -> int:
        """How much is to be kept in memory for each of them."""

    def close(self) -> None:
        """Let go of it."""


OpenBacking = Callable[[str], Backing]
"""Opens the backing device at a path; OSError or a ZramError if that cannot be."""


class BackingDev:
    """The backing device that is chosen, if one is, and the settings of writeback."""

    __slots__ = ("_open", "_words", "chosen")

    def __init__(self, words: HeaderWords, open_backing: OpenBacking | None) -> None:
        self._words = words
        self._open = open_backing
        self.chosen: Backing | None = None
        """The open one."""

    def open(self, path: str) -> Backing:
        """Return the backing device at *path*, opened; in whatever thread."""
        found = self.reopen(path)
        if not found.nr_blocks:
            found.close()
            raise InvalidValue(f"{found.path} has no room for a page")
        return found

    def reopen(self, path: str) -> Backing:
        """Return it whatever has become of it: pages are there already."""
        # invariant: whoever offers backing devices says how to open them.
        assert self._open, path
        return self._open(path)

    def choose(self, backing: Backing | None) -> None:
        """Use *backing* from now on, and let go of the one before."""
        before, self.chosen = self.chosen, backing
        if before:
            before.close()

    def show(self) -> str:
        """Return its path."""
        return f"{self.chosen.path if self.chosen else 'none'}\n"

    @property
    def nr_blocks(self) -> int:
        """How many pages it has room for: none without one."""
        return self.chosen.nr_blocks if self.chosen else 0

    @property
    def seal_bytes(self) -> int:
        """How much is to be kept in memory for each of them."""
        return self.chosen.seal_bytes if self.chosen else 0

    @property
    def limit(self) -> int:
        """How many pages may yet be written back, if that is limited."""
        return self._words.writeback_limit

    @limit.setter
    def limit(self, nr_pages: int) -> None:
        self._words.writeback_limit = nr_pages

    @property
    def is_limited(self) -> bool:
        """Whether `limit` counts."""
        return bool(self._words.writeback_limit_enable)

    @is_limited.setter
    def is_limited(self, limited: bool) -> None:
        self._words.writeback_limit_enable = limited

    @property
    def batch_size(self) -> int:
        """How many writes may be in flight."""
        return self._words.writeback_batch_size or BATCH_SIZE

    @batch_size.setter
    def batch_size(self, nr_writes: int) -> None:
        self._words.writeback_batch_size = nr_writes

    @property
    def compressed(self) -> bool:
        """Whether objects are written as they are stored."""
        return bool(self._words.compressed_writeback)

    @compressed.setter
    def compressed(self, compressed: bool) -> None:
        self._words.compressed_writeback = compressed
