"""Every failure that zramfs raises on purpose, each with its errno.

A new failure is a new class. The docstring is the user's sentence; the message
at the raise site adds the facts. ``zramfs.mount.operations`` is the one place
that turns these into FUSE replies.
"""

import errno
import os
from typing import ClassVar


class ZramError(Exception):
    """Base class of every failure zramfs raises on purpose.

    ``errno`` is what the caller of read(2), write(2) or open(2) sees. It is a
    class attribute: a new failure is a new class, never a new argument.
    """

    errno: ClassVar[int] = errno.EIO


class InvalidValue(ZramError):
    """The text does not parse, or the value is out of range."""

    errno = errno.EINVAL


class NotInitialised(InvalidValue):
    """The device needs a disksize first."""


class OutOfRange(ZramError):
    """The number does not fit, or lies beyond the end of the device."""

    errno = errno.ERANGE


class TextTooLong(ZramError):
    """The text is longer than the kernel takes."""

    errno = errno.E2BIG


class DeviceBusy(ZramError):
    """The device is initialised, open, or already being reset."""

    errno = errno.EBUSY


class OutOfMemory(ZramError):
    """The memory for this disksize cannot be had."""

    errno = errno.ENOMEM


class UnknownFormat(ZramError):
    """The memory is not of a format that this program knows."""

    errno = errno.EPROTO


class MemoryLimitExceeded(ZramError):
    """Storing the page would exceed mem_limit."""

    errno = errno.ENOMEM


class MemoryShort(ZramError):
    """The system has no memory left for another page of the pool."""

    errno = errno.ENOMEM


class NotResident(ZramError):
    """The page is on the backing device: whoever wants it has to wait for it."""

    errno = errno.EOPNOTSUPP


class NoBackingDevice(ZramError):
    """There is no backing device to write pages to."""

    errno = errno.ENODEV


class NotBlockDevice(ZramError):
    """The backing device is neither a block device nor a regular file."""

    errno = errno.ENOTBLK


class ForeignFile(ZramError):
    """The file that is to hold pages holds something else, or has another size."""

    errno = errno.EEXIST


class BackingDeviceFull(ZramError):
    """The backing device has no free block, and more pages should go there."""

    errno = errno.ENOSPC


class WritebackLimitReached(ZramError):
    """writeback_limit is used up, and more pages should be written back."""


class ReadFailed(ZramError):
    """A page of the request could not be read."""


class WriteFailed(ZramError):
    """A page of the request could not be stored; the old one is intact."""


class SpillReadFailed(ZramError):
    """A written-back page does not come back."""


class ShortTransfer(ZramError):
    """The backing device has become too short."""


class CorruptBlock(ZramError):
    """A block of the backing device is not what was written there."""


class CorruptPage(ZramError):
    """The stored object does not decompress to one page."""


class NoSpace(ZramError):
    """The write begins at or beyond the end of the device."""

    errno = errno.ENOSPC


class NoData(ZramError):
    """There is no data, and no hole, from that offset on (lseek(2))."""

    errno = errno.ENXIO


class NoEvents(ZramError):
    """The disk reports no events, so there is nothing to poll it for."""

    errno = errno.ENODEV


class NotSupported(ZramError):
    """This mount cannot do that, whatever the arguments."""

    errno = errno.ENOSYS


class ModeNotSupported(ZramError):
    """The operation exists, but not in this mode."""

    errno = errno.EOPNOTSUPP


class NoSuchFile(ZramError):
    """There is no file of this name."""

    errno = errno.ENOENT


class NotADirectory(ZramError):
    """The inode is a file, not a directory."""

    errno = errno.ENOTDIR


class WrongDirection(ZramError):
    """The file cannot be opened this way, or the name cannot be created.

    sysfs answers EACCES to both, even to root.
    """

    errno = errno.EACCES


class FixedTree(ZramError):
    """The files of a device can be neither made, removed nor renamed."""

    errno = errno.EPERM


class MountRefused(ZramError):
    """The filesystem cannot be mounted here, or not unmounted now."""


def sentence(error: ZramError | OSError) -> str:
    """Return what a person is told of *error*: what it is about, and why."""
    if isinstance(error, OSError) and error.strerror:
        about = [os.fsdecode(error.filename)] if error.filename else []
        return ": ".join([*about, error.strerror])
    return str(error)
