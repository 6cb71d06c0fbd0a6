"""The state of each stored page, as debugfs shows it (`read_block_state`).

A line is of fixed length: index, access time in seconds since boot with six zeros
of a fraction, and a letter or a dot for each of same, written back, huge, idle,
recompressed, incompressible.
"""

from typing import Final

from zramfs.core.device import Device
from zramfs.core.slots import (
    HUGE,
    IDLE,
    INCOMPRESSIBLE,
    PRIORITY_MASK,
    SAME,
    WB,
)

LINE_BYTES: Final = 40

_LETTERS: Final = (
    ("s", SAME),
    ("w", WB),
    ("h", HUGE),
    ("i", IDLE),
    ("r", PRIORITY_MASK),
    ("n", INCOMPRESSIBLE),
)


def read_block_state(device: Device, index: int, size: int) -> tuple[bytes, int]:
    """Return the lines of stored pages from *index* on, and where to go on.

    Whole lines only, and there must be room for a byte more than they take, as in
    the kernel: 40 bytes are too few. NotInitialised without a disksize.
    """
    table = device.store.table
    most = max(size - 1, 0) // LINE_BYTES
    indexes = table.allocated(index, most) if most else []
    lines = [
        f"{found:12} {table.ac_time[found]:12}.000000 {_flags(table.words[found])}\n"
        for found in indexes
    ]
    return "".join(lines).encode(), indexes[-1] + 1 if indexes else index


def _flags(word: int) -> str:
    return "".join(letter if word & flag else "." for letter, flag in _LETTERS)
