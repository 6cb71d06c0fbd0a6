"""The asynchronous path: requests that may have to wait, and long work.

The only module that awaits between two looks at a slot, and it looks again after
every await.
"""

import time
from collections.abc import Generator
from itertools import chain

import trio

from zramfs.core.attributes import Attribute
from zramfs.core.device import Device
from zramfs.core.lifecycle import State
from zramfs.core.steps import Steps, Work, Writes
from zramfs.errors import ZramError
from zramfs.mount.paths import PathStat


class Bio:
    """The asynchronous operations of one device."""

    __slots__ = ("_device", "_pass_lock", "_stat")

    def __init__(self, device: Device, stat: PathStat) -> None:
        self._device = device
        self._stat = stat
        # One pass of long work at a time, as under the kernel's dev_lock.
        self._pass_lock = trio.Lock()

    async def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at *offset*: fewer at the end of the device.

        Either reads, or raises Cancelled with nothing read.
        """
        self._tick()
        self._stat.bio_reads += 1
        return self._device.read(offset, length)

    async def write(self, offset: int, data: memoryview) -> int:
        """Store *data* at *offset* and return how many bytes: fewer at the end.

        Either stores, or raises Cancelled with nothing stored.
        """
        self._tick()
        self._stat.bio_writes += 1
        return self._device.write(offset, data)

    def _tick(self) -> None:
        self._device.tick(int(time.clock_gettime(time.CLOCK_BOOTTIME)))

    async def compact(self) -> None:
        """Compact the pool, if there still is one when the turn comes.

        Either finishes, or raises Cancelled with the rest not moved.
        """
        async with self._pass_lock:
            if self._device.state is State.READY:
                await run_steps(self._device.compact())

    async def store(self, attribute: Attribute, text: str, cwd: str = "") -> None:
        """Do what writing *text* to *attribute* does, long work included.

        Relative paths in *text* begin at *cwd*.
        Either finishes, or raises Cancelled with the device in order and the rest
        of the work undone.
        """
        if not attribute.exclusive:
            self._device.cwd = cwd
            attribute.store(self._device, text)
            return
        async with self._pass_lock:
            self._tick()
            self._device.cwd = cwd
            await run_steps(attribute.store(self._device, text))


async def run_steps(steps: Steps | None) -> None:
    """Take all *steps*, letting other requests in between.

    Either takes them all, or raises Cancelled after one of them, with *steps* closed.
    """
    if steps is None:
        return
    try:
        for work in steps:
            if work:
                await _run_with_threads(chain((work,), steps))
            else:
                await trio.lowlevel.checkpoint()
    finally:
        # What a pass has marked must not wait for a garbage collection.
        if isinstance(steps, Generator):
            steps.close()


async def _run_with_threads(steps: Steps) -> None:
    """Take *steps* of which some ask for work.

    Either takes them all, or raises Cancelled when what was begun has ended.
    """
    failure: ZramError | OSError | None = None
    async with trio.open_nursery() as nursery:
        jobs: dict[Work, _Job] = {}
        try:
            for work in steps:
                # invariant: no control file asks for writes.
                assert not isinstance(work, Writes)
                if work is None:
                    await trio.lowlevel.checkpoint()
                elif work in jobs:
                    await jobs.pop(work).end()
                else:
                    jobs[work] = _Job(work)
                    nursery.start_soon(jobs[work].run)
        except (ZramError, OSError) as error:
            failure = error  # a nursery would make a group of it
    if failure:
        raise failure


class _Job:
    """Some work in another thread."""

    __slots__ = ("_ended", "_failure", "_work")

    def __init__(self, work: Work) -> None:
        self._work = work
        self._ended = trio.Event()
        self._failure: ZramError | OSError | None = None

    async def run(self) -> None:
        """Do the work; or raise Cancelled when it is done."""
        try:
            await trio.to_thread.run_sync(self._work.run)
        except (ZramError, OSError) as error:
            self._failure = error
        self._ended.set()

    async def end(self) -> None:
        """Wait for the end of the work, and raise what came of it.

        Either waits, or raises Cancelled with the work going on.
        """
        await self._ended.wait()
        if self._failure:
            raise self._failure
