"""A backing device in memory, and what waits for it, without waiting.

`FakeBackings` opens them by path. Each counts its operations and fails those that it
is told to: with an errno, or halfway. The functions below do what a mount does when
the core cannot answer at once.
"""

import errno
import os
import posixpath
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from zramfs.core.device import Device
from zramfs.core.ranges import Fetched, Plan
from zramfs.core.spilled import Spilled
from zramfs.core.steps import Run, Steps, Work, Writes
from zramfs.core.writeback import Writeback
from zramfs.errors import NotBlockDevice, NotResident, ReadFailed, ZramError
from zramfs.units import PAGE_SIZE

SEAL_BYTES = 8

SHORT = 0
"""Stands for an errno: half of the pages are written, or half of the page read."""

NEVER = -1
"""Likewise: nobody ever hears of the operation again."""


class NeverHeardOf(Exception):
    """The operation does not end."""


def seal_of(block: bytes) -> bytes:
    """Return what is kept in memory of a block."""
    return zlib.crc32(block).to_bytes(SEAL_BYTES, "little")


@dataclass(slots=True, eq=False)
class FakeBacking:
    """A backing device of *nr_blocks*; what was never written is zeros."""

    path: str
    nr_blocks: int
    blocks: dict[int, bytes] = field(default_factory=dict)
    faults: dict[int, int] = field(default_factory=dict)
    """Errnos, SHORT or NEVER, by the number of the operation that fails."""
    bad_blocks: set[int] = field(default_factory=set)
    nr_operations: int = 0
    is_open: bool = False

    @property
    def seal_bytes(self) -> int:
        return SEAL_BYTES

    def close(self) -> None:
        assert self.is_open, self.path
        self.is_open = False

    def _fault(self, blocks: range) -> int | None:
        assert self.is_open, self.path
        assert blocks.stop <= self.nr_blocks, blocks
        fault = self.faults.get(self.nr_operations)
        self.nr_operations += 1
        if fault == NEVER:
            raise NeverHeardOf(str(blocks))
        if fault or self.bad_blocks.intersection(blocks):
            number = fault or errno.EIO
            raise OSError(number, os.strerror(number))
        return fault

    def write(self, blocks: range, data: bytes) -> int:
        """Write *data* to adjacent *blocks*; return how many bytes were."""
        length = len(data)
        assert length == len(blocks) * PAGE_SIZE
        if self._fault(blocks) == SHORT:
            length = (len(blocks) // 2) * PAGE_SIZE + PAGE_SIZE // 2
        for at, block in zip(range(0, length, PAGE_SIZE), blocks, strict=False):
            piece = data[at : min(at + PAGE_SIZE, length)]
            before = self.blocks.get(block, bytes(PAGE_SIZE))
            self.blocks[block] = piece + before[len(piece) :]
        return length

    def read(self, block: int) -> bytes:
        """Return what is in *block*, or half of it."""
        data = self.blocks.get(block, bytes(PAGE_SIZE))
        if self._fault(range(block, block + 1)) == SHORT:
            return data[: PAGE_SIZE // 2]
        return data


class FakeBackings:
    """All backing devices there are, by their paths."""

    def __init__(self) -> None:
        self.by_path: dict[str, FakeBacking] = {}

    def make(self, nr_blocks: int) -> FakeBacking:
        """Return a new one."""
        path = f"/backing{len(self.by_path)}"
        self.by_path[path] = FakeBacking(path, nr_blocks)
        return self.by_path[path]

    def orphan(self) -> None:
        """Let go of all of them, as a process does that dies."""
        for backing in self.by_path.values():
            backing.is_open = False

    def __call__(self, path: str) -> FakeBacking:
        """Open the one at *path*, as the kernel and a mount would."""
        found = self.by_path.get(posixpath.normpath(posixpath.join("/", path)))
        if found and not path.endswith(("/", "/.")):
            if found.is_open:
                raise OSError(errno.EBUSY, f"{path} is in use")
            found.is_open = True
            return found
        if path == "/dev/null":
            raise NotBlockDevice(path)
        number = errno.ENOENT
        if path in (".", "/", "/tmp"):  # nothing is made there
            number = errno.EISDIR
        elif max(map(len, path.split("/"))) > 255:
            number = errno.ENAMETOOLONG
        raise OSError(number, path)


def backings_of(device: Device) -> FakeBackings:
    backings = device.backing._open
    assert isinstance(backings, FakeBackings)
    return backings


def backing_of(device: Device) -> FakeBacking:
    backing = device.backing.chosen
    assert isinstance(backing, FakeBacking)
    return backing


def attach(device: Device, nr_blocks: int) -> FakeBacking:
    """Give a new backing device to *device*, which has no disksize yet."""
    backing = backings_of(device).make(nr_blocks)
    device.configure(device.config.with_backing(backing.path))
    device.backing.choose(device.backing.open(backing.path))
    return backing


@dataclass(slots=True, kw_only=True, eq=False)
class Flight:
    """A run that is being written."""

    run: Run
    data: bytes
    nr_done: int = 0
    """Pages of which it was said whether they were written."""

    @property
    def blocks(self) -> range:
        """Those that are still in flight."""
        return self.run.blocks[self.nr_done :]

    def land(self, writes: Writes, backing: FakeBacking) -> None:
        """Write what is in flight at once; if that fails, page by page.

        NeverHeardOf leaves in flight what was not settled before.
        """
        blocks = self.blocks
        try:
            length = backing.write(blocks, self.data[self.nr_done * PAGE_SIZE :])
        except OSError as error:
            length = 0
            if len(blocks) == 1:
                self._fail(writes, error)
                return
        nr_written = length // PAGE_SIZE
        if nr_written:
            self._commit(writes, self.nr_done + nr_written)
        while self.blocks:
            self._land_page(writes, backing)

    def _land_page(self, writes: Writes, backing: FakeBacking) -> None:
        at = self.nr_done
        page = self.data[at * PAGE_SIZE : (at + 1) * PAGE_SIZE]
        error = OSError(errno.EIO, "a short write")
        try:
            length = backing.write(self.run.blocks[at : at + 1], page)
        except OSError as failure:
            length, error = 0, failure
        if length == PAGE_SIZE:
            self._commit(writes, at + 1)
        else:
            self._fail(writes, error)

    def give_up(self, writes: Writes) -> None:
        """Say that what is in flight was not written."""
        while self.blocks:
            self._fail(writes, OSError(errno.EIO, "given up"))

    def _fail(self, writes: Writes, error: OSError) -> None:
        writes.fail(self.run, self.nr_done, self.nr_done + 1, error)
        self.nr_done += 1

    def _commit(self, writes: Writes, stop: int) -> None:
        start = self.nr_done
        pages = (
            self.data[at * PAGE_SIZE : (at + 1) * PAGE_SIZE]
            for at in range(start, stop)
        )
        writes.commit(self.run, start, stop, b"".join(map(seal_of, pages)))
        self.nr_done = stop


def take(writes: Writes, nr_pages: int = 4) -> Flight | None:
    """Take a run of up to *nr_pages* off the ground."""
    buffer = bytearray(b"\xaa" * (nr_pages * PAGE_SIZE))
    run = writes.take(memoryview(buffer))
    if run is None:
        return None
    return Flight(run=run, data=bytes(buffer[: len(run.blocks) * PAGE_SIZE]))


def flights(writes: Writes, nr_pages: int = 4) -> Iterator[Flight]:
    while flight := take(writes, nr_pages):
        yield flight


def drive(steps: Steps | None, meanwhile: Callable[[], None] | None = None) -> None:
    """Take all *steps*, and do what they ask for.

    *meanwhile* is done once, while a first run of pages is being written.
    """
    begun = set()
    for work in steps or ():
        if isinstance(work, Writeback):
            backing = work._backing.chosen
            assert isinstance(backing, FakeBacking)
            for flight in flights(work):
                if meanwhile:
                    meanwhile()
                    meanwhile = None
                flight.land(work, backing)
        elif work and work not in begun:
            assert isinstance(work, Work)
            begun.add(work)
            work.run()


def fetch(device: Device, spilled: Spilled) -> bytes:
    """Return the page of *spilled*; OSError if it does not come back as it was."""
    data = backing_of(device).read(spilled.block)
    if len(data) != PAGE_SIZE or seal_of(data) != spilled.seal:
        raise OSError(errno.EIO, f"block {spilled.block} is not what it was")
    return spilled.page(data)


def fetch_all(device: Device, plan: Plan) -> Fetched:
    """Return all that *plan* waits for; ReadFailed if something does not come."""
    try:
        return {spilled: fetch(device, spilled) for spilled in plan.spilled}
    except (OSError, ZramError) as error:
        raise ReadFailed(str(error)) from error


def read(device: Device, offset: int, length: int) -> bytes:
    """Read, and wait for what is written back."""
    try:
        return device.read(offset, length)
    except NotResident:
        with closing(device.plan_read(offset, length)) as plan:
            return plan.join(fetch_all(device, plan))


def write(device: Device, offset: int, data: bytes) -> int:
    """Write, and wait for what is written back of the pages at the edges."""
    try:
        return device.write(offset, memoryview(data))
    except NotResident:
        with closing(device.plan_edges(offset, len(data))) as plan:
            fetched = fetch_all(device, plan)
            return device.write(offset, memoryview(data), fetched)


def discard(device: Device, offset: int, length: int) -> None:
    """Discard, and wait for what is written back of the pages at the edges."""
    try:
        drive(device.discard(offset, length))
    except NotResident:
        with closing(device.plan_edges(offset, length)) as plan:
            fetched = fetch_all(device, plan)
            drive(device.discard(offset, length, fetched))
