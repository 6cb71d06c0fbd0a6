"""Writing back: a pass whose pages are on their way to the backing device.

Up to writeback_batch_size writes are in flight, each of pages for adjacent blocks.
The pages are sealed before they are written, and committed when that has ended; in
between requests are served, and the pass finds out by itself what they have changed.
A write that fails is done again page by page: each has its own block, and one bad
block must not keep the others in memory.
"""

import errno
from dataclasses import dataclass
from functools import partial
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

_RUN_BYTES: Final = 256 << 10
"""The most that one write transfers: disks do no better with more."""

_MOST_WRITES: Final = 32
"""In flight, whatever writeback_batch_size says: 8 MiB of buffers."""


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """Pages that are being written."""

    run: Run
    buffer: Buffer
    seals: bytes


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
        self._nr_buffers = min(device.backing.batch_size, _MOST_WRITES)
        self._free = make_buffers(self._nr_buffers, _RUN_BYTES)
        self._freed = trio.Event()

    async def run(self) -> None:
        """Write all pages back, and wait for the last.

        Either does, or raises Cancelled with some of them still on their way: these
        end as the others, or not at all if there is nothing left that they are of.
        """
        while True:
            while not self._free:
                await self._wait()
            # The one used last is in the processor's cache.
            buffer = self._free.pop()
            run = self._writes.take(buffer.view)
            if run is None:
                self._free.append(buffer)
                break
            self._begin(run, buffer)
            await trio.lowlevel.checkpoint()
        while len(self._free) < self._nr_buffers:
            await self._wait()

    async def _wait(self) -> None:
        """Wait for a write to end; or raise Cancelled, with nothing changed."""
        self._freed = trio.Event()
        await self._freed.wait()

    def _begin(self, run: Run, buffer: Buffer) -> None:
        """Seal and write a run; what there is no memory for has failed, too."""
        nr_pages = len(run.blocks)
        try:
            seals = self._spill.sealer.seal(buffer.view[: nr_pages << PAGE_SHIFT])
            flight = Flight(run, buffer, seals)
            self._write(flight, 0, nr_pages, partial(self._end, flight))
        except (MemoryError, OSError) as error:
            self._free.append(buffer)
            failure = OSError(errno.ENOMEM, f"a write could not begin: {error!r}")
            self._writes.fail(run, 0, nr_pages, failure)

    def _write(self, flight: Flight, start: int, stop: int, end: EndIo) -> None:
        buffer = flight.buffer
        view = buffer.view[start << PAGE_SHIFT : stop << PAGE_SHIFT]
        address = buffer.address + (start << PAGE_SHIFT)
        block = flight.run.blocks[start]
        self._io.start(Transfer(self._spill, block, view, address, end, writes=True))

    def _end(self, flight: Flight, _view: memoryview, failure: Failure) -> None:
        nr_pages = len(flight.run.blocks)
        if failure and nr_pages > 1:
            self._write(flight, 0, 1, partial(self._end_page, flight, 0))
            return
        try:
            self._settle(flight, 0, nr_pages, failure)
        finally:
            self._free_buffer(flight)

    def _end_page(
        self, flight: Flight, at: int, _view: memoryview, failure: Failure
    ) -> None:
        """Go on to the page behind page *at* of a run that failed as a whole."""
        following = at + 1
        try:
            self._settle(flight, at, following, failure)
        finally:
            if following == len(flight.run.blocks):
                self._free_buffer(flight)
            else:
                end = partial(self._end_page, flight, following)
                self._write(flight, following, following + 1, end)

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

    def _free_buffer(self, flight: Flight) -> None:
        self._free.append(flight.buffer)
        self._freed.set()
