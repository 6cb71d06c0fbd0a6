"""Open files, the buffers that direct I/O wants, and holes."""

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# linux/falloc.h
KEEP_SIZE: Final = 0x01
PUNCH_HOLE: Final = 0x02
NO_HIDE_STALE: Final = 0x04
COLLAPSE_RANGE: Final = 0x08
ZERO_RANGE: Final = 0x10
INSERT_RANGE: Final = 0x20
UNSHARE_RANGE: Final = 0x40

DISCARD: Final = PUNCH_HOLE | KEEP_SIZE
"""The mode in which a loop device passes discards on."""

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
_libc.fallocate.restype = ctypes.c_int


@contextmanager
def opened(path: Path, flags: int = os.O_RDWR) -> Iterator[int]:
    """Open *path*."""
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def aligned(data: bytes) -> mmap.mmap:
    """Return a buffer with *data* that begins where a page of memory does.

    From any other the kernel makes requests that begin within a page, too.
    """
    buffer = mmap.mmap(-1, len(data))
    buffer[:] = data
    return buffer


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """Call fallocate(2), which Python has for mode 0 only."""
    if _libc.fallocate(fd, mode, offset, length):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def seek(fd: int, offset: int, whence: int) -> int | None:
    """Return where lseek(2) goes; None if there is nothing (ENXIO)."""
    try:
        return os.lseek(fd, offset, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise
