"""Loop devices, spoken to directly: attach, resize, claim (``linux/loop.h``).

A descriptor with the access mode `IOCTL_ONLY` can neither read nor write, only ask and
command. It keeps a loop device attached without using what is on it.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from zramfs.errors import MountRefused
from zramfs.units import PAGE_SIZE

IOCTL_ONLY: Final = 3
"""The access mode of open(2) that is none of O_RDONLY, O_WRONLY and O_RDWR."""

CONTROL: Final = Path("/dev/loop-control")
LOOP: Final = "/dev/loop"

_LOOP_CTL_GET_FREE: Final = 0x4C82
_LOOP_CONFIGURE: Final = 0x4C0A
_LOOP_GET_STATUS64: Final = 0x4C05
_LOOP_SET_CAPACITY: Final = 0x4C07
_BLKFLSBUF: Final = 0x1261  # linux/fs.h

_LO_FLAGS_AUTOCLEAR: Final = 4
_LO_FLAGS_DIRECT_IO: Final = 16

# device, inode, rdevice, offset, sizelimit; number, encrypt_type, encrypt_key_size,
# flags; file_name, crypt_name, encrypt_key; init.
_LOOP_INFO64: Final = struct.Struct("=5Q4I64s64s32s2Q")
_LOOP_CONFIG: Final = struct.Struct(f"=2I{_LOOP_INFO64.size}s64x")

_ATTEMPTS: Final = 20
"""Somebody else may take a free loop device between our asking for it and taking it."""


def attach(swapfile: Path) -> tuple[Path, int]:
    """Attach a loop device to *swapfile* and return it, with a descriptor for it.

    It has direct I/O and sectors of a page, and detaches itself when the last
    descriptor for it is closed. That returned is `IOCTL_ONLY`.
    """
    file = os.open(swapfile, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_ATTEMPTS):
            loop = _free_loop()
            with _opened(loop, os.O_RDWR) as fd:
                if _configure(fd, file, swapfile):
                    return loop, os.open(loop, IOCTL_ONLY | os.O_CLOEXEC)
    finally:
        os.close(file)
    raise MountRefused("no loop device stays free long enough to be attached")


def _free_loop() -> Path:
    with _opened(CONTROL, os.O_RDWR) as control:
        return Path(f"{LOOP}{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}")


def _configure(fd: int, file: int, name: Path) -> bool:
    """Attach *fd*, a loop device, to *file*; return whether it still was free."""
    flags = _LO_FLAGS_AUTOCLEAR | _LO_FLAGS_DIRECT_IO
    # The name is for those who ask with ioctl; sysfs has the whole path.
    shown = os.fsencode(name)[:63]
    info = _LOOP_INFO64.pack(*[0] * 8, flags, shown, b"", b"", 0, 0)
    try:
        fcntl.ioctl(fd, _LOOP_CONFIGURE, _LOOP_CONFIG.pack(file, PAGE_SIZE, info))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    return True


def follow(loop: Path) -> None:
    """Give *loop* the size that its file has now."""
    with _opened(loop, IOCTL_ONLY) as fd:
        # Before Linux 6.17 the size is that which the file had when it was last asked
        # for, and this asks.
        fcntl.ioctl(fd, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64.size))
        fcntl.ioctl(fd, _LOOP_SET_CAPACITY)


def claim(loop: Path) -> int:
    """Return a descriptor while which is open nobody can mount or swap on *loop*.

    OSError, EBUSY among others, if somebody has. Nothing of it is cached afterwards.
    """
    fd = os.open(loop, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _BLKFLSBUF)
    except OSError:
        os.close(fd)
        raise
    return fd


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
