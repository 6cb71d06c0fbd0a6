"""Writing back: a pass whose pages are on their way to the backing device.

Up to writeback_batch_size writes are in flight, each of pages for adjacent blocks.
The pages are sealed before they are written, and committed when that has ended; in
between requests are served, and the pass finds out by itself what they have changed.
A run is cut into several writes, and committed when all have ended. A write that fails
is done again page by page: each has its own block, and one bad block must not keep the
others in memory.
"""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Final

import trio

from zramfs.core.device import Device
from zramfs.core.lifecycle import State
from zramfs.core.steps import Run, Writes
from zramfs.mount.spill_io import (
    Buffer,
    EndIo,
    Failure,
    SpillIo,
    Transfer,
    make_buffers,
)
from zramfs.spill import Spill
from zramfs.units import PAGE_SHIFT

_WRITE_PAGES: Final = 64
"""The most that one write transfers: disks do no better with more, and of more than a
device has segments for, the kernel takes none without waiting."""

_RUN_WRITES: Final = 8
"""Writes that a run is cut into: what is done once for each run is shared by its pages.
With 4, 8 and 16, writing 512 MiB back took 618, 498 and 712 ms (medians of 6 mounts in
turn), and the longest step of 512 pages, committing them, about 0.6 ms."""

_MOST_WRITES: Final = 32
"""In flight, whatever writeback_batch_size says: 8 MiB of pages."""

_MOST_RUNS: Final = 16
"""In flight: where free blocks are scattered, a run is a page or two."""


@dataclass(slots=True, eq=False)
class Flight:
    """Pages that are being written, or will be next."""

    run: Run
    buffer: Buffer
    nr_writes: int
    """What it counts as, of those that may be in flight."""
    nr_left: int = 0
    """Writes that have not ended."""
    seals: bytes = b""
    written: list[range] = field(default_factory=list)
    """Which of the pages were, and are not committed yet."""


class WriteBack:
    """One pass: *writes* of *device*, to *spill*."""

    def __init__(
        self,
        io: SpillIo,
        spill: Spill,
        device: Device,
        writes: Writes,
    ) -> None:
        self._io = io
        self._spill = spill
        self._writes = writes
        self._device = device
        self._store = device.store
        # Writes that may yet be begun.
        self._nr_writes = min(device.backing.batch_size, _MOST_WRITES)
        self._nr_buffers = min(self._nr_writes, _MOST_RUNS)
        self._write_bytes = _WRITE_PAGES << PAGE_SHIFT
        length = _RUN_WRITES * self._write_bytes
        self._free = make_buffers(self._nr_buffers, length)
        self._freed = trio.Event()
        io.open()

    async def run(self) -> None:
        """Write all pages back, and wait for the last.

        Either does, or raises Cancelled with some of them still on their way: these
        end as the others, or not at all if there is nothing left that they are of.
        """
        ahead = self._take()
        try:
            while ahead:
                # While one is sealed and begun, the pages of the next are made ready.
                begun, ahead = ahead, self._take()
                self._begin(begun)
                await trio.lowlevel.checkpoint()
                while not ahead and not self._may_take():
                    await self._wait()
                ahead = ahead or self._take()
        except BaseException:
            if ahead:
                self._give_up(ahead, OSError(errno.ECANCELED, "not written any more"))
            raise
        while len(self._free) < self._nr_buffers:
            await self._wait()

    def _may_take(self) -> bool:
        """Whether another run may be written now."""
        return bool(self._free and self._nr_writes)

    def _take(self) -> Flight | None:
        """Take a run off into a free buffer; None without either."""
        if not self._may_take():
            return None
        # The one used last is in the processor's cache.
        buffer = self._free.pop()
        run = self._writes.take(buffer.view[: self._nr_writes * self._write_bytes])
        if run is None:
            self._free.append(buffer)
            return None
        nr_writes = -(-len(run.blocks) // _WRITE_PAGES)
        self._nr_writes -= nr_writes
        return Flight(run, buffer, nr_writes)

    def _free_up(self, flight: Flight) -> None:
        """Let another run be written in its place."""
        self._nr_writes += flight.nr_writes
        self._free.append(flight.buffer)

    async def _wait(self) -> None:
        """Wait for a write to end; or raise Cancelled, with nothing changed."""
        self._freed = trio.Event()
        await self._freed.wait()

    def _give_up(self, flight: Flight, failure: OSError) -> None:
        """Keep the pages of a run, none of which is being written, in memory."""
        self._free_up(flight)
        if self._is_alive():
            self._writes.fail(flight.run, 0, len(flight.run.blocks), failure)

    def _begin(self, flight: Flight) -> None:
        """Seal and write a run; what there is no memory for has failed, too."""
        run, buffer = flight.run, flight.buffer
        try:
            if run.wait and not run.wait():
                self._writes.reload(run, buffer.view)
            nr_pages = len(run.blocks)
            flight.seals = self._spill.sealer.seal(buffer.pages[:nr_pages])
        except MemoryError:
            self._give_up(flight, OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
            return
        if not nr_pages:
            self._free_up(flight)
            return
        starts = range(0, nr_pages, _WRITE_PAGES)
        flight.nr_left = len(starts)
        for start in starts:
            pages = range(start, min(start + _WRITE_PAGES, nr_pages))
            end = partial(self._end, flight, pages)
            self._write(flight, pages.start, pages.stop, end)

    def _write(self, flight: Flight, start: int, stop: int, end: EndIo) -> None:
        buffer = flight.buffer
        view = buffer.view[start << PAGE_SHIFT : stop << PAGE_SHIFT]
        address = buffer.address + (start << PAGE_SHIFT)
        block = flight.run.blocks[start]
        self._io.start(Transfer(self._spill, block, view, address, end, writes=True))

    def _end(
        self, flight: Flight, pages: range, view: memoryview, failure: Failure
    ) -> None:
        if failure and len(pages) == 1:
            self._end_page(flight, pages, view, failure)
        elif failure:
            end = partial(self._end_page, flight, pages)
            self._write(flight, pages.start, pages.start + 1, end)
        else:
            flight.written.append(pages)
            self._end_write(flight)

    def _end_page(
        self, flight: Flight, pages: range, _view: memoryview, failure: Failure
    ) -> None:
        """Go on to the second of *pages*, a write that failed as a whole."""
        try:
            self._settle(flight, pages.start, pages.start + 1, failure)
        finally:
            following = pages[1:]
            if following:
                end = partial(self._end_page, flight, following)
                self._write(flight, following.start, following.start + 1, end)
            else:
                self._end_write(flight)

    def _end_write(self, flight: Flight) -> None:
        """Commit a run when the last of its writes has ended."""
        flight.nr_left -= 1
        if flight.nr_left:
            return
        try:
            for pages in _joined(flight.written):
                self._settle(flight, pages.start, pages.stop, None)
        finally:
            self._free_up(flight)
            self._freed.set()

    def _is_alive(self) -> bool:
        """Whether there still is what the pages were taken from."""
        device = self._device
        return device.state is State.READY and device.store is self._store

    def _settle(self, flight: Flight, start: int, stop: int, failure: Failure) -> None:
        """Tell the pass what has become of some pages."""
        if not self._is_alive():
            return
        if failure:
            self._device.counters.bd_write_errors += stop - start
            self._writes.fail(flight.run, start, stop, failure)
            return
        size = self._spill.seal_bytes
        seals = flight.seals[start * size : stop * size]
        self._writes.commit(flight.run, start, stop, seals)


def _joined(written: Sequence[range]) -> list[range]:
    """Return the ranges with those that touch made one, in their order."""
    joined: list[range] = []
    for pages in sorted(written, key=attrgetter("start")):
        if joined and joined[-1].stop == pages.start:
            pages = range(joined.pop().start, pages.stop)  # noqa: PLW2901  # with it
        joined.append(pages)
    return joined
