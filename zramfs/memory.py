"""The memfd that holds a device: made, mapped, punched, given back.

The header (`zramfs.core.header`) lies at its beginning and stays; the arena, which
is there while the device has a disksize, lies behind it. Both are in the memfd
alone, so that whoever has the descriptor has the device.

A device of n pages maps about 420 KB of address space for each page, nearly all
of it never touched: 64 GiB of disksize are 7 TB of addresses, and the 128 TB that
x86-64 gives a process end at a disksize of about 1.1 TiB.
"""

import ctypes
import errno
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from typing import Final

from zramfs.core.header import HEADER_BYTES, Header
from zramfs.errors import OutOfMemory, UnknownFormat
from zramfs.units import human_size

MAP_NORESERVE: Final = 0x4000  # not in the mmap module; asm-generic/mman.h

_FALLOC_FL_KEEP_SIZE: Final = 1  # linux/falloc.h
_FALLOC_FL_PUNCH_HOLE: Final = 2

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
_libc.fallocate.restype = ctypes.c_int


Admit = Callable[[int], int]
"""Says how many pages a pool that wants so many may hold for now."""

_FLAGS: Final = mmap.MAP_SHARED | MAP_NORESERVE


def _admit_any(_: int) -> int:
    return sys.maxsize


class MappedArena:
    """A memfd behind its header: sparse, shared, zero where it was never written."""

    def __init__(self, fd: int, length: int, admit: Admit = _admit_any) -> None:
        self._fd = fd
        self._admit = admit
        self._map = mmap.mmap(fd, length, flags=_FLAGS, offset=HEADER_BYTES)
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
        if _libc.fallocate(self._fd, mode, HEADER_BYTES + offset, length):
            number = ctypes.get_errno()
            raise OSError(number, f"fallocate: {os.strerror(number)}")

    def admit(self, nr_pages: int) -> int:
        """Return how many pages a pool that wants *nr_pages* may hold for now."""
        return self._admit(nr_pages)

    def written(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges in [start, stop) that are backed by memory, ascending."""
        start += HEADER_BYTES
        stop += HEADER_BYTES
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
            yield start - HEADER_BYTES, end - HEADER_BYTES
            start = end

    def is_written(self, start: int, stop: int) -> bool:
        """Whether anything in [start, stop) is backed by memory."""
        if start >= stop:
            return False
        try:
            data = os.lseek(self._fd, HEADER_BYTES + start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return False
            raise
        return data < HEADER_BYTES + stop

    def close(self) -> None:
        """Unmap; every view of the arena must be released by then."""
        self._view.release()
        self._map.close()


class MemFile:
    """The memfd of one device; its arena is empty while there is no disksize."""

    def __init__(self, fd: int | None = None) -> None:
        """Make a new one, or take over that of *fd*; then it may be UnknownFormat."""
        if fd is None:
            fd = os.memfd_create("zramfs", os.MFD_CLOEXEC)
            os.ftruncate(fd, HEADER_BYTES)
        elif os.fstat(fd).st_size < HEADER_BYTES:
            raise UnknownFormat("this is too short for the memory of a zramfs device")
        self.fd = fd
        header = mmap.mmap(fd, HEADER_BYTES, flags=_FLAGS)
        self.header = Header(memoryview(header))
        """What is known of the device besides its pages."""
        self.admit: Admit = _admit_any
        """Whether there is memory for a pool to grow; the owner may know better."""
        self._arena: MappedArena | None = None

    def map(self, length: int) -> MappedArena:
        """Return *length* bytes, as they are, and sparse zeros where nothing was.

        OutOfMemory if that cannot be.
        """
        before = os.fstat(self.fd).st_size
        try:
            os.ftruncate(self.fd, HEADER_BYTES + length)
            self._arena = MappedArena(self.fd, length, self.admit)
        except (OSError, OverflowError, ValueError) as error:
            os.ftruncate(self.fd, before)
            size = human_size(length)
            raise OutOfMemory(f"cannot map {size} of address space: {error}") from error
        return self._arena

    def unmap(self) -> None:
        """Give the arena back, mapped or not, with all that is in it."""
        if self._arena:
            self._arena.close()
            self._arena = None
        os.ftruncate(self.fd, HEADER_BYTES)
