"""Files as a target: a directory of attributes, and a file or a device of pages."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.integration.files import DISCARD, aligned, fallocate, opened
from zramfs.units import PAGE_SIZE


@dataclass(frozen=True, slots=True)
class AttributeFiles:
    """The attributes in a directory; each access is one open and one call."""

    directory: Path

    def store(self, name: str, data: bytes) -> int:
        with opened(self.directory / name, os.O_WRONLY) as fd:
            return os.write(fd, data)

    def show(self, name: str) -> bytes:
        with opened(self.directory / name, os.O_RDONLY) as fd:
            return os.read(fd, PAGE_SIZE)


@dataclass(frozen=True, slots=True)
class PageFile:
    """The pages in a file, which is open during a call only."""

    path: Path
    flags: int

    def read(self, offset: int, length: int) -> bytes:
        buffer = aligned(bytes(length))
        with opened(self.path, os.O_RDONLY | self.flags) as fd:
            return buffer[: os.preadv(fd, [buffer], offset)]

    def write(self, offset: int, data: bytes) -> int:
        with opened(self.path, os.O_WRONLY | self.flags) as fd:
            return os.pwrite(fd, aligned(data), offset)

    def discard(self, offset: int, length: int) -> None:
        with opened(self.path, os.O_RDWR) as fd:
            fallocate(fd, DISCARD, offset, length)


class Files:
    """A device that is in *directory*, and whose pages are at *path*.

    *flags* are for open(2): a block device wants O_DIRECT, or the page cache would
    come in between. The file *block_state* is elsewhere for each kind of device.
    Backing devices are files in *scratch*.
    """

    def __init__(
        self,
        directory: Path,
        path: Path,
        block_state: Path,
        scratch: Path,
        flags: int = 0,
    ) -> None:
        self._scratch = scratch
        self._path = path
        self._block_state = block_state
        self.attributes = AttributeFiles(directory)
        self.pages = PageFile(path, flags)

    def block_state(self) -> bytes:
        with opened(self._block_state, os.O_RDONLY) as fd:
            return b"".join(iter(partial(os.read, fd, PAGE_SIZE), b""))

    def wait(self, seconds: int) -> None:
        raise OSError(errno.ENOTSUP, f"the clock is not ours to set by {seconds} s")

    def make_backing(self, nr_pages: int) -> str:
        number = sum(1 for _ in self._scratch.glob("backing*"))
        path = self._scratch / f"backing{number}"
        path.write_bytes(bytes(nr_pages * PAGE_SIZE))
        return str(path)

    def read_block(self, path: str, block: int) -> bytes:
        with opened(Path(path), os.O_RDONLY) as fd:
            return os.pread(fd, PAGE_SIZE, block * PAGE_SIZE)

    def spoil_block(self, path: str, block: int) -> None:
        # What comes back otherwise than it was written is as good as unreadable.
        changed = bytes(byte ^ 1 for byte in self.read_block(path, block))
        with opened(Path(path), os.O_WRONLY) as fd:
            os.pwrite(fd, changed, block * PAGE_SIZE)

    def hold(self) -> Callable[[], None]:
        return partial(os.close, os.open(self._path, os.O_RDONLY))
