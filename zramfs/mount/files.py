"""Open files: what reading and writing one means.

A control file behaves as in sysfs: the text is made once, when it is read at
offset 0, and kept for that open file; each write is one store, whatever its
offset, of at most 4096 bytes, ending at the first NUL. The swapfile's handle is
its inode and carries no state.
"""

import logging
import os
from typing import Final

from zramfs.core.attributes import Attribute, Lines
from zramfs.core.device import Device
from zramfs.errors import InvalidValue, NoSuchFile, WrongDirection, ZramError
from zramfs.mount.bio import Bio
from zramfs.mount.resize import Resizer
from zramfs.mount.tree import SWAPFILE_INODE, Tree

log = logging.getLogger(__name__)

ATTRIBUTE_SIZE: Final = 4096
"""st_size of a control file, and the most that one write stores (sysfs)."""

_MAX_LINES: Final = 1 << 14
"""The most that one read of a file shown in pieces returns; a socket carries it."""

_INODE_BITS: Final = 16
"""Of a handle: its inode, so that a handle needs no table to be understood."""

_OPENED_BITS: Final = 32
"""Of a handle, next to these: which open of its worker's it is."""

_WORKER_SHIFT: Final = _INODE_BITS + _OPENED_BITS
"""Of a handle, what is left: the generation of that worker."""


class Files:
    """The open files of one mount."""

    __slots__ = (
        "_bio",
        "_cursors",
        "_device",
        "_opened",
        "_pids",
        "_resizer",
        "_texts",
        "_tree",
    )

    def __init__(
        self,
        device: Device,
        tree: Tree,
        bio: Bio,
        resizer: Resizer,
        generation: int = 0,
    ) -> None:
        self._device = device
        self._tree = tree
        self._bio = bio
        self._resizer = resizer
        # How many control files have been opened. Those that workers of earlier
        # generations have opened are still open, and their handles taken.
        self._opened = generation << _OPENED_BITS
        # What each open control file read at offset 0, by handle.
        self._texts: dict[int, bytes] = {}
        # Who opened each control file.
        self._pids: dict[int, int] = {}
        # Where the next read of each file shown in pieces begins: byte and slot.
        self._cursors: dict[int, tuple[int, int]] = {}

    def open(self, inode: int, flags: int, pid: int = 0) -> int:
        """Open *inode* for the process *pid*, 0 if unknown, and return a handle.

        WrongDirection if it cannot be opened that way, even by root.
        """
        if inode == SWAPFILE_INODE:
            self._device.open()
            return SWAPFILE_INODE
        attribute = self._tree.node(inode).attribute
        if attribute is None:
            raise NoSuchFile(f"inode {inode} is no file")
        direction = flags & os.O_ACCMODE
        readable = attribute.show or attribute.lines or direction == os.O_WRONLY
        # debugfs, unlike sysfs, lets root open any file in any direction.
        writable = attribute.parse or attribute.lines or direction == os.O_RDONLY
        if not readable or not writable:
            raise WrongDirection(f"{attribute.name}: mode {attribute.mode:04o}")
        self._opened += 1
        handle = self._opened << _INODE_BITS | inode
        self._pids[handle] = pid
        return handle

    def _attribute(self, handle: int) -> Attribute:
        attribute = self._tree.node(handle & ((1 << _INODE_BITS) - 1)).attribute
        # invariant: only open() makes handles, and only of these.
        assert attribute, handle
        return attribute

    def _cwd(self, handle: int) -> str:
        """Return the working directory of whoever opened *handle*.

        The kernel takes that of the writer, which is nearly always the same; what
        FUSE tells libfuse of a write is too little.
        """
        pid = self._pids.get(handle)
        # Without one, as after a restart of this process, only absolute paths work.
        return f"/proc/{pid}/cwd" if pid else "/"

    def release(self, handle: int) -> None:
        """Forget *handle*."""
        if handle == SWAPFILE_INODE:
            self._device.release()
            return
        self._pids.pop(handle, None)
        self._texts.pop(handle, None)
        self._cursors.pop(handle, None)

    async def read(self, handle: int, offset: int, length: int) -> bytes:
        """Return up to *length* bytes at *offset*.

        Either reads, or raises Cancelled with nothing changed.
        """
        if handle == SWAPFILE_INODE:
            return await self._bio.read(offset, length)
        attribute = self._attribute(handle)
        if attribute.lines:
            return self._read_lines(handle, attribute.lines, offset, length)
        # invariant: open() lets nobody read what cannot be shown.
        assert attribute.show, attribute.name
        if offset == 0 or handle not in self._texts:
            self._texts[handle] = os.fsencode(attribute.show(self._device))
        return self._texts[handle][offset : offset + length]

    def _read_lines(self, handle: int, lines: Lines, offset: int, length: int) -> bytes:
        """Read on where the last read of *handle* ended, or from the beginning.

        In debugfs a position counts slots; a FUSE file's counts bytes.
        """
        begin = (0, 0)
        if handle >> _WORKER_SHIFT != self._opened >> _OPENED_BITS:
            begin = self._walk(lines, offset)
        expected, index = self._cursors.get(handle, begin)
        if offset == 0:
            index = 0
        elif offset != expected:
            raise InvalidValue(f"read at {offset}, the last one ended at {expected}")
        text, index = lines(self._device, index, min(length, _MAX_LINES))
        self._cursors[handle] = offset + len(text), index
        return text

    def _walk(self, lines: Lines, offset: int) -> tuple[int, int]:
        """Return where reading from the beginning comes to by *offset*."""
        position = index = 0
        while position < offset:
            most = min(offset - position + 1, _MAX_LINES)
            text, index = lines(self._device, index, most)
            if not text:
                break
            position += len(text)
        return position, index

    async def write(self, handle: int, offset: int, data: bytes) -> int:
        """Write *data* and return how many bytes were taken.

        Either writes, or raises Cancelled with the device in order.
        """
        if handle == SWAPFILE_INODE:
            return await self._bio.write(offset, memoryview(data))
        attribute = self._attribute(handle)
        if not attribute.parse:
            raise InvalidValue(f"{attribute.name} is not written to")
        taken = data[:ATTRIBUTE_SIZE]
        text = os.fsdecode(taken.split(b"\0", 1)[0])
        try:
            await self._store(attribute, text, self._cwd(handle))
        except ZramError as error:
            log.info("%s: %s", attribute.name, error)
            raise
        return len(taken)

    async def _store(self, attribute: Attribute, text: str, cwd: str) -> None:
        """Store, and let loop devices follow.

        Either finishes, or raises Cancelled with the device in order.
        """
        if not attribute.resizes:
            await self._bio.store(attribute, text, cwd)
            return
        async with self._resizer.resizing(self._device):
            await self._bio.store(attribute, text, cwd)
