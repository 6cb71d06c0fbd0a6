"""What the system says of the memory behind a device's arena."""

import os

from zramfs.core.header import HEADER_BYTES
from zramfs.memory import MappedArena, MemFile
from zramfs.units import PAGE_SIZE


def backed_pages(memory: MemFile) -> int:
    """Return how many pages of the arena are backed by memory."""
    length = os.fstat(memory.fd).st_size - HEADER_BYTES
    if not length:
        return 0
    arena = MappedArena(memory.fd, length)
    written = sum(stop - start for start, stop in arena.written(0, length))
    arena.close()
    return written // PAGE_SIZE
