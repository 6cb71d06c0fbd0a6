"""The backing device as a descriptor: a file or a block device, opened and locked.

Block *i* lies at byte *i* x PAGE_SIZE; there is no header, as in the kernel. What was
there before is lost with the first page written back, so a regular file is taken
only if it begins with a MiB of zeros or carries our mark, an extended attribute, of
an earlier time. A block device is taken as it is, as the kernel takes it.

It is opened with O_DIRECT, so that pages that leave memory do not come back as page
cache. Only one zramfs can have it: a block device by O_EXCL, a file by flock(2).

All it takes is the descriptor, so another process can hold it too, and a new one can
go on with it (`Spill`).
"""

import errno
import fcntl
import logging
import mmap
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from zramfs.errors import DeviceBusy, ForeignFile, NotBlockDevice
from zramfs.seal import Sealer
from zramfs.units import PAGE_SHIFT, PAGE_SIZE, human_size

log = logging.getLogger(__name__)

_MARK: Final = "user.zramfs.spill"
"""On a regular file that had pages before. Its value says nothing."""

_FOREIGN: Final = frozenset({errno.ENOTSUP, errno.EPERM})
"""Errors of extended attributes where there are none."""

_LOOKED_AT: Final = 1 << 20
"""Bytes at the start of a file that tell whether it is something else: no filesystem,
partition table, archive or image begins with more zeros."""


class Spill:
    """An open backing device: *fd*, with the blocks sealed by *sealer*.

    It is given up when `close` was called and no transfer holds it any more; then
    *end* is called.
    """

    __slots__ = (
        "_end",
        "_is_closed",
        "_nr_holds",
        "fd",
        "is_direct",
        "nr_blocks",
        "path",
        "sealer",
    )

    def __init__(
        self, fd: int, path: str, sealer: Sealer, end: Callable[[], None] | None = None
    ) -> None:
        self.fd = fd
        self._end = end
        self.path = path
        """Its absolute path, when it was opened."""
        self.sealer = sealer
        self.nr_blocks = os.lseek(fd, 0, os.SEEK_END) >> PAGE_SHIFT
        """How many pages it has room for."""
        self.is_direct = bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT)
        """Whether buffers must be aligned, and nothing is kept as page cache."""
        # Transfers in flight use the descriptor; its number must not get another
        # meaning, nor its file another owner, before the last has ended.
        self._nr_holds = 0
        self._is_closed = False

    @property
    def seal_bytes(self) -> int:
        """How much is to be kept in memory for each block."""
        return self.sealer.seal_bytes

    def hold(self) -> None:
        """Keep the descriptor open until `drop` was called as often."""
        self._nr_holds += 1

    def drop(self) -> None:
        """Count off a `hold`."""
        self._nr_holds -= 1
        if self._is_closed:
            self._close_unused()

    def close(self) -> None:
        """Let go of the device, at the latest when the last transfer has ended.

        Another process that has the descriptor, too, then has it unlocked.
        """
        self._is_closed = True
        self._close_unused()

    def _close_unused(self) -> None:
        if not self._is_closed or self._nr_holds:
            return
        with suppress(OSError):
            fcntl.flock(self.fd, fcntl.LOCK_UN)
        os.close(self.fd)
        if self._end:
            self._end()


def open_spill(path: str, size: int | None = None) -> int:
    """Open the backing device at *path*, for us alone; return the descriptor.

    With *size* it may be missing, or empty, and is made: a file of so many bytes. An
    OSError, or an error of ours, if it cannot be had; then nothing has changed.
    """
    is_new, fd = _open(path, may_make=size is not None)
    try:
        _take(fd, path, size)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            _mark(fd)
        _try_direct(fd, path)
    except BaseException:
        os.close(fd)
        if is_new:
            Path(path).unlink()
        raise
    return fd


def _open(path: str, *, may_make: bool) -> tuple[bool, int]:
    """Return whether *path* is new, and its descriptor."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not be waited for
    try:
        if not stat.S_ISBLK(Path(path).stat().st_mode):
            return False, os.open(path, flags)
        # O_EXCL is EBUSY where it is mounted, swapped on, or claimed.
        return False, os.open(path, flags | os.O_EXCL)
    except FileNotFoundError:
        if not may_make:
            raise
    return True, os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)


def _take(fd: int, path: str, size: int | None) -> None:
    """Lock what *fd* is, if it may be used, and give it *size*, if it has none."""
    status = os.fstat(fd)
    if stat.S_ISBLK(status.st_mode):
        return
    if not stat.S_ISREG(status.st_mode):
        raise NotBlockDevice(f"{path} is neither a block device nor a file")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DeviceBusy(f"{path} is in use by another zramfs") from error
    if size is not None and not status.st_size:
        _allocate(fd, size)
        return
    if size is not None and status.st_size != size:
        has = human_size(status.st_size)
        raise ForeignFile(f"{path} has {has} already; remove it, or ask for no size")
    if not _is_ours(fd, status):
        raise ForeignFile(f"{path} is in use for something else; remove it first")


def _allocate(fd: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError:
        os.ftruncate(fd, 0)
        raise


def _is_ours(fd: int, status: os.stat_result) -> bool:
    """Whether nothing is lost with what is in the file."""
    if not any(os.pread(fd, _LOOKED_AT, 0)):
        return True
    try:
        os.getxattr(fd, _MARK)
    except OSError as error:
        # Without such attributes: as we make them.
        is_made = stat.S_IMODE(status.st_mode) == 0o600
        is_unmarkable = error.errno in _FOREIGN
        return is_unmarkable and is_made and status.st_uid == os.geteuid()
    return True


def _mark(fd: int) -> None:
    try:
        os.setxattr(fd, _MARK, b"")
    except OSError as error:
        if error.errno not in _FOREIGN:
            raise


def _try_direct(fd: int, path: str) -> None:
    """Turn on O_DIRECT, if that works; some filesystems refuse it when it is used."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_DIRECT)
        with mmap.mmap(-1, PAGE_SIZE) as page:
            os.preadv(fd, [page], 0)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)
        log.warning(
            "%s: no direct I/O here: written-back pages come back as page cache", path
        )
