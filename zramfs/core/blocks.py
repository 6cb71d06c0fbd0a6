"""The blocks of the backing device: which are used, and the seal of each.

A block is used by one written-back slot, or by a page on its way there. While a
block is read it is pinned: if its slot gives it up meanwhile it counts as free, but
is not handed out again before the read is done.

All of this but the seals is derived from the slot table. The seals say what a block
must read as; what is in them is the business of whoever reads and writes blocks.
"""

from collections.abc import Sequence

import numpy as np

from zramfs.core.table import Indexes
from zramfs.errors import BackingDeviceFull
from zramfs.units import BlockIndex


class Blocks:
    """The blocks of one backing device, in one life of the device; there may be none.

    *seals* has room for *seal_bytes* of each block.
    """

    __slots__ = (
        "_first_free",
        "_freed",
        "_pins",
        "_seal_bytes",
        "_seals",
        "_used",
        "nr_blocks",
        "nr_used",
    )

    def __init__(self, nr_blocks: int, seals: memoryview, seal_bytes: int) -> None:
        self.nr_blocks = nr_blocks
        self.nr_used = 0
        """Blocks in use: bd_count."""
        # Of each block up to the highest ever used, whether it can be handed out.
        self._used = bytearray()
        # No block before this one can.
        self._first_free = 0
        # Reads in flight by block, and blocks given up while they were.
        self._pins: dict[int, int] = {}
        self._freed: set[int] = set()
        self._seals = seals
        self._seal_bytes = seal_bytes

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped."""
        self._seals.release()

    def restore(self, blocks: Sequence[Indexes]) -> None:
        """Take *blocks*, those that slots point to, as used; of new blocks only."""
        # invariant: nothing was handed out before.
        assert not self._used, "blocks are restored first of all"
        owned = np.concatenate([np.empty(0, np.int64), *blocks])
        used = np.zeros(owned.max(initial=-1) + 1, np.uint8)
        used[owned] = 1
        self._used = bytearray(used)
        self.nr_used = owned.size
        # invariant: no two slots point to one block.
        assert self._used.count(1) == owned.size, "a block is used twice"

    def alloc(self, most: int) -> range:
        """Return the lowest free block, and adjacent ones, up to *most*, as used.

        BackingDeviceFull if none is free.
        """
        used = self._used
        first = used.find(0, self._first_free)
        if first < 0:
            first = len(used)
        stop = used.find(1, first, first + most)
        if stop < 0:
            stop = min(first + most, self.nr_blocks)
        if first == stop:
            raise BackingDeviceFull(f"all {self.nr_blocks} blocks are in use")
        used[first:stop] = b"\1" * (stop - first)  # beyond the end it grows
        self._first_free = stop
        self.nr_used += stop - first
        return range(first, stop)

    def free(self, block: int) -> None:
        """Give up *block*; pinned, it stays as it is until it is not."""
        # invariant: a block is freed once, and only by who owns it.
        assert self._used[block], f"block {block} is free already"
        self.nr_used -= 1
        if block in self._pins:
            self._freed.add(block)
        else:
            self._vacate(block)

    def _vacate(self, block: int) -> None:
        self._used[block] = 0
        self._first_free = min(self._first_free, block)

    def pin(self, block: BlockIndex) -> None:
        """Keep *block* as it is until `unpin` was called as often."""
        self._pins[block] = self._pins.get(block, 0) + 1

    def unpin(self, block: BlockIndex) -> None:
        """Count off a `pin`."""
        self._pins[block] -= 1
        if self._pins[block]:
            return
        del self._pins[block]
        if block in self._freed:
            self._freed.remove(block)
            self._vacate(block)

    def seal(self, block: BlockIndex) -> bytes:
        """Return the seal of *block*."""
        start = block * self._seal_bytes
        return self._seals[start : start + self._seal_bytes].tobytes()

    def set_seals(self, first: int, seals: bytes) -> None:
        """Store the *seals* of adjacent blocks from *first* on.

        To be done before any slot points to them.
        """
        start = first * self._seal_bytes
        self._seals[start : start + len(seals)] = seals
