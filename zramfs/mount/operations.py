"""FUSE requests, translated: a protocol adapter and nothing else.

Handlers raise FUSEError and nothing else: pyfuse3 would end the mount.
"""

import functools
import os
import stat
import time
from collections.abc import Callable, Coroutine
from typing import Final, Never, ParamSpec, Protocol, TypeVar

import pyfuse3

from zramfs.core.device import Device
from zramfs.errors import FixedTree, NotSupported, WrongDirection, ZramError
from zramfs.mount.files import ATTRIBUTE_SIZE, Files
from zramfs.mount.replies import errno_of
from zramfs.mount.tree import SWAPFILE_INODE, Node, Tree
from zramfs.units import PAGE_SHIFT, PAGE_SIZE

P = ParamSpec("P")
R = TypeVar("R")

_ENTRY_TIMEOUT_S: Final = 86400  # the tree never changes


def replies_errno(
    handler: Callable[P, Coroutine[object, object, R]],
) -> Callable[P, Coroutine[object, object, R]]:
    """Make *handler* raise FUSEError and nothing else.

    Cancelled passes, being a BaseException.
    """

    @functools.wraps(handler)
    async def translated(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(*args, **kwargs)
        except Exception as error:
            number = errno_of(error, handler.__name__)
            raise pyfuse3.FUSEError(number) from error

    return translated


class _Refusal(Protocol):
    """A handler that raises, whatever it is asked."""

    def __call__(
        self, *args: object, **kwargs: object
    ) -> Coroutine[object, object, Never]:
        """Raise."""


def _refusing(error: ZramError) -> _Refusal:
    """Return a handler that always raises *error*."""

    async def refuse(*_: object, **__: object) -> Never:
        raise error

    return replies_errno(refuse)


class Operations(pyfuse3.Operations):
    """The requests that a mount answers; the others get libfuse's ENOSYS."""

    supports_dot_lookup = False

    def __init__(
        self, device: Device, tree: Tree, files: Files, *, discards: bool
    ) -> None:
        super().__init__()
        self._discards = discards
        self._device = device
        self._tree = tree
        self._files = files
        self._owner = (os.getuid(), os.getgid())
        self._made_ns = time.time_ns()

    def _entry(self, node: Node) -> pyfuse3.EntryAttributes:
        """Describe *node* as stat(2) shows it."""
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(node.inode)
        entry.st_mode = pyfuse3.ModeT(node.mode)
        entry.st_nlink = 2 if stat.S_ISDIR(node.mode) else 1
        entry.st_uid, entry.st_gid = self._owner
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = self._made_ns
        entry.entry_timeout = entry.attr_timeout = _ENTRY_TIMEOUT_S
        if node.attribute:
            entry.st_size = ATTRIBUTE_SIZE
        if node.inode == SWAPFILE_INODE:
            entry.st_size = self._device.disksize
            entry.attr_timeout = 0  # disksize can change at any time
        return entry

    @replies_errno
    async def lookup(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Describe an entry of a directory."""
        return self._entry(self._tree.child(parent_inode, name))

    @replies_errno
    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Describe a file."""
        return self._entry(self._tree.node(inode))

    @replies_errno
    async def setattr(
        self,
        inode: pyfuse3.InodeT,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: pyfuse3.FileHandleT | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Take truncation and times, and change nothing, as sysfs does."""
        entry = self._entry(self._tree.node(inode))
        mode = fields.update_mode and attr.st_mode != entry.st_mode
        if mode or fields.update_uid or fields.update_gid:
            raise FixedTree("owners and modes are fixed")
        return entry

    @replies_errno
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """Describe the filesystem, if discards arrive.

        The loop device offers discard to whoever answers statfs, and with pyfuse3
        alone none ever arrives: it would report success and free nothing.
        """
        if not self._discards:
            raise NotSupported("statfs, because discards do not arrive")
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = PAGE_SIZE
        data.f_blocks = self._device.disksize >> PAGE_SHIFT
        stored = self._device.mm_stat().orig_data_size >> PAGE_SHIFT
        data.f_bfree = data.f_bavail = data.f_blocks - stored
        data.f_namemax = 255
        return data

    @replies_errno
    async def opendir(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileHandleT:
        """Open a directory; its handle is its inode."""
        self._tree.children(inode)
        return pyfuse3.FileHandleT(inode)

    @replies_errno
    async def readdir(
        self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        """List a directory from the entry after *start_id* on."""
        entries = list(self._tree.children(fh).items())[start_id:]
        for position, (name, node) in enumerate(entries, start_id + 1):
            entry = self._entry(node)
            if not pyfuse3.readdir_reply(
                token, pyfuse3.FileNameT(name), entry, position
            ):
                return

    @replies_errno
    async def open(
        self,
        inode: pyfuse3.InodeT,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.FileInfo:
        """Open a file, past the page cache: it must not hold the pages once more."""
        handle = self._files.open(inode, flags, ctx.pid)
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(handle), direct_io=True)

    @replies_errno
    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        """Read from an open file."""
        return await self._files.read(fh, off, size)

    @replies_errno
    async def write(self, fh: pyfuse3.FileHandleT, off: int, buf: bytes) -> int:
        """Write to an open file."""
        return await self._files.write(fh, off, buf)

    @replies_errno
    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        """Close an open file."""
        self._files.release(fh)

    create = _refusing(WrongDirection("no file can be created here"))
    mknod = mkdir = symlink = link = unlink = rmdir = rename = _refusing(
        FixedTree("the files of a device are fixed")
    )
