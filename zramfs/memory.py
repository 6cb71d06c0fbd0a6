"""The memfd that holds a device: made, mapped, punched, given back.

A device of n pages maps about 420 KB of address space for each page, nearly all
of it never touched: 64 GiB of disksize are 7 TB of addresses, and the 128 TB that
x86-64 gives a process end at a disksize of about 1.1 TiB.
"""

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator
from typing import Final

from zramfs.errors import OutOfMemory
from zramfs.units import human_size

MAP_NORESERVE: Final = 0x4000  # not in the mmap module; asm-generic/mman.h

_FALLOC_FL_KEEP_SIZE: Final = 1  # linux/falloc.h
_FALLOC_FL_PUNCH_HOLE: Final = 2

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
_libc.fallocate.restype = ctypes.c_int


class MappedArena:
    """A memfd, mapped: sparse, shared, zero where it was never written."""

    def __init__(self, fd: int, length: int) -> None:
        self._fd = fd
        self._map = mmap.mmap(fd, length, flags=mmap.MAP_SHARED | MAP_NORESERVE)
        self._view = memoryview(self._map)

    @property
    def view(self) -> memoryview:
        """All of the memory, as bytes."""
        return self._view

    def punch(self, offset: int, length: int) -> None:
        """Give whole pages back to the system; they read as zeros.

        fallocate(2), because madvise(MADV_REMOVE) refuses locked memory.
        """
        mode = _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE
        if _libc.fallocate(self._fd, mode, offset, length):
            number = ctypes.get_errno()
            raise OSError(number, f"fallocate: {os.strerror(number)}")

    def written(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges in [start, stop) that are backed by memory, ascending."""
        while start < stop:
            try:
                start = os.lseek(self._fd, start, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a hole up to the end
                    return
                raise
            if start >= stop:
                return
            end = stop
            # SEEK_HOLE goes all the way to the hole: 125 us for 20 MB. A page of
            # which a byte is written is written.
            if start // mmap.PAGESIZE != (stop - 1) // mmap.PAGESIZE:
                end = min(stop, os.lseek(self._fd, start, os.SEEK_HOLE))
            yield start, end
            start = end

    def close(self) -> None:
        """Unmap; every view of the arena must be released by then."""
        self._view.release()
        self._map.close()


class MemFile:
    """The memfd of one device, empty while the device has no disksize."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("zramfs", os.MFD_CLOEXEC)
        self._arena: MappedArena | None = None

    def map(self, length: int) -> MappedArena:
        """Return *length* bytes of sparse zeros; OutOfMemory if that cannot be."""
        try:
            os.ftruncate(self.fd, length)
            self._arena = MappedArena(self.fd, length)
        except (OSError, OverflowError, ValueError) as error:
            os.ftruncate(self.fd, 0)
            size = human_size(length)
            raise OutOfMemory(f"cannot map {size} of address space: {error}") from error
        return self._arena

    def unmap(self) -> None:
        """Give the arena back, with all that is in it."""
        # invariant: unmap follows map.
        assert self._arena, "nothing is mapped"
        self._arena.close()
        self._arena = None
        os.ftruncate(self.fd, 0)
