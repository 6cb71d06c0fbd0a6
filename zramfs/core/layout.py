"""Where in the memory of a device each of its parts lies.

    slot words | access times | fill words | seals of blocks | pool

Each begins at a page. There are seals only with a backing device.
"""

from dataclasses import dataclass
from typing import Protocol, Self

from zramfs.core.header import Header, HeaderWords
from zramfs.core.pool import Arena, pool_bytes
from zramfs.core.table import table_bytes
from zramfs.units import page_align


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The parts of an arena, by the numbers that they follow from."""

    nr_slots: int
    """Pages of the device."""
    nr_blocks: int = 0
    """Pages of the backing device."""
    seal_bytes: int = 0
    """What is kept in memory of each block, to tell whether it comes back unchanged."""

    @property
    def seals(self) -> int:
        """Where the seals begin."""
        return table_bytes(self.nr_slots)

    @property
    def pool(self) -> int:
        """Where the pool begins."""
        return self.seals + page_align(self.nr_blocks * self.seal_bytes)

    @property
    def nr_bytes(self) -> int:
        """The virtual size of it all."""
        return self.pool + pool_bytes(self.nr_slots)

    @classmethod
    def load(cls, words: HeaderWords) -> Self:
        """Return the layout that `store` kept."""
        return cls(
            nr_slots=words.nr_slots,
            nr_blocks=words.nr_blocks,
            seal_bytes=words.seal_bytes,
        )

    def store(self, words: HeaderWords) -> None:
        """Keep the numbers where they outlive this process."""
        words.nr_slots = self.nr_slots
        words.nr_blocks = self.nr_blocks
        words.seal_bytes = self.seal_bytes


class Memory(Protocol):
    """Where a device lives."""

    @property
    def header(self) -> Header:
        """What is known of the device besides its pages."""

    def map(self, length: int) -> Arena:
        """Return *length* bytes, as they are, and sparse zeros where nothing was.

        OutOfMemory if that cannot be.
        """

    def unmap(self) -> None:
        """Give the arena back, mapped or not, with all that is in it."""
