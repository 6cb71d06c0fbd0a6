"""A filesystem of one file, ``spill``, whose reads and writes can be held up.

    python held_file.py MOUNTPOINT SIZE HOLD READY

While the file HOLD exists, either takes as long as it exists, a read no less than
200 ms. Makes READY when it is mounted; ends when it is unmounted.
"""

import errno
import os
import stat
import sys
from pathlib import Path
from typing import Final

import pyfuse3
import trio
from pyfuse3 import FileHandleT, InodeT

_FILE: Final = InodeT(2)
_SLOW_S: Final = 0.2
_POLL_S: Final = 0.01


class HeldFile(pyfuse3.Operations):
    """The operations."""

    def __init__(self, size: int, hold: Path) -> None:
        super().__init__()
        self._data = bytearray(size)
        self._hold = hold

    def _attributes(self, inode: InodeT) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        entry.st_mode = stat.S_IFREG | 0o600
        entry.st_size = len(self._data)
        if inode != _FILE:
            entry.st_mode = stat.S_IFDIR | 0o700
            entry.st_size = 0
        return entry

    async def getattr(
        self, inode: InodeT, _ctx: pyfuse3.RequestContext | None = None
    ) -> pyfuse3.EntryAttributes:
        return self._attributes(inode)

    async def lookup(
        self, _parent: InodeT, name: bytes, _ctx: pyfuse3.RequestContext | None = None
    ) -> pyfuse3.EntryAttributes:
        if name != b"spill":
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._attributes(_FILE)

    async def open(
        self, _inode: InodeT, _flags: int, _ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=FileHandleT(_FILE), direct_io=True)

    async def read(self, _fh: FileHandleT, off: int, size: int) -> bytes:
        if self._hold.exists():
            await trio.sleep(_SLOW_S)
        await self._released()
        return bytes(self._data[off : off + size])

    async def write(self, _fh: FileHandleT, off: int, buf: bytes) -> int:
        await self._released()
        self._data[off : off + len(buf)] = buf
        return len(buf)

    async def _released(self) -> None:
        while self._hold.exists():  # noqa: ASYNC110  # of another process
            await trio.sleep(_POLL_S)


def main() -> None:
    """Serve."""
    mountpoint, size, hold, ready = sys.argv[1:]
    options = {*pyfuse3.default_options, "fsname=held"}
    pyfuse3.init(HeldFile(int(size), Path(hold)), mountpoint, options)
    os.close(os.open(ready, os.O_CREAT | os.O_WRONLY, 0o600))
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main()
