"""The asynchronous path: requests that may have to wait, and long work.

The only module that awaits between two looks at a slot, and it looks again after
every await.
"""

import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, closing
from itertools import chain
from typing import TypeVar

import trio

from zramfs.core.attributes import Attribute
from zramfs.core.device import Device
from zramfs.core.lifecycle import State
from zramfs.core.ranges import Fetched, Plan
from zramfs.core.spilled import Spilled
from zramfs.core.steps import Steps, Work, Writes
from zramfs.errors import NotResident, SpillReadFailed, ZramError
from zramfs.mount.fetch import Fetch, opened
from zramfs.mount.paths import PathStat
from zramfs.mount.spill_io import Failure, SpillIo
from zramfs.mount.write_back import WriteBack
from zramfs.spill import Spill
from zramfs.units import BlockIndex

T = TypeVar("T")

WriteBackPages = Callable[[Writes], Awaitable[None]]


class Bio:
    """The asynchronous operations of one device."""

    __slots__ = ("_device", "_pass_lock", "_stat", "io")

    def __init__(self, device: Device, stat: PathStat) -> None:
        self._device = device
        self._stat = stat
        self.io = SpillIo()
        """What carries pages to the backing device and back."""
        # One pass of long work at a time, as under the kernel's dev_lock.
        self._pass_lock = trio.Lock()

    async def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at *offset*: fewer at the end of the device.

        Either reads, or raises Cancelled with nothing read and nothing pinned.
        """
        self._tick()
        self._stat.bio_reads += 1
        try:
            return self._device.read(offset, length)
        except NotResident:
            plan = self._device.plan_read(offset, length)
        with closing(plan):
            return plan.join(await self._fetch(plan))

    def submit_read(
        self, offset: int, length: int, end_io: Callable[[bytes | Exception], None]
    ) -> None:
        """Read as `read` does, and call *end_io* with the bytes, or an error, then.

        Not a task: starting one and waking it costs as much again as all the rest. The
        device has the time already: the lane has ticked.
        """
        self._stat.bio_reads += 1
        plan = self._device.plan_read(offset, length)

        def end(fetch: Fetch) -> None:
            answer: bytes | Exception
            try:
                answer = plan.join(fetch.pages())
            except SpillReadFailed as error:
                answer = error
            finally:
                plan.close()
            end_io(answer)

        try:
            self._start(plan, end)
        except BaseException:
            plan.close()
            raise

    def submit_page(
        self,
        offset: int,
        block: BlockIndex,
        end_io: Callable[[int, bytes | Exception], None],
        unique: int,
    ) -> bool:
        """Read the page at *offset* from its *block*, as `submit_read` does.

        *end_io* is called with *unique*, too. Returns whether there was a buffer for
        it; else nothing was done. The device is asked first of all, and the rest done
        while it works; the page is handed on before what else its coming means.
        """
        spill, device = self._spill(), self._device
        transfer = self.io.begin_page(spill, block)
        if transfer is None:
            return False
        self._stat.bio_reads += 1
        spilled = device.pin_page(offset)
        counters, blocks = device.counters, device.store.blocks

        def end(data: memoryview, failure: Failure) -> None:
            try:
                end_io(unique, opened(spill, counters, spilled, data, failure))
            finally:
                blocks.unpin(block)

        transfer.end_io = end
        return True

    def _start(self, plan: Plan, end: Callable[[Fetch], None]) -> Fetch:
        """Begin to read what *plan* waits for."""
        fetch = Fetch(self.io, self._spill(), self._device.counters, end)
        fetch.start(plan.spilled)
        return fetch

    def _spill(self) -> Spill:
        spill = self._device.backing.chosen
        # invariant: nothing is written back without one; a mount opens no others.
        assert isinstance(spill, Spill), spill
        return spill

    async def _fetch(self, plan: Plan) -> Fetched:
        """Return what *plan* waits for; SpillReadFailed if some of it cannot be had.

        Either waits, or raises Cancelled with the device unchanged.
        """
        ended = trio.Event()
        fetch = self._start(plan, lambda _: ended.set())
        await ended.wait()
        return fetch.pages()

    async def _change(
        self, offset: int, length: int, change: Callable[[Fetched], T]
    ) -> T:
        """Return what *change* of a range does, with the pages that it needs fetched.

        Others may change them meanwhile, and so it may need others then. Either
        changes, or raises Cancelled with nothing changed and nothing pinned.
        """
        fetched: dict[Spilled, bytes] = {}
        with ExitStack() as pins:
            while True:
                try:
                    return change(fetched)
                except NotResident:
                    plan = self._device.plan_edges(offset, length)
                # What was fetched is good as long as its block is pinned.
                pins.callback(plan.close)
                fetched.update(await self._fetch(plan))

    async def write(self, offset: int, data: memoryview) -> int:
        """Store *data* at *offset* and return how many bytes: fewer at the end.

        Either stores, or raises Cancelled with nothing stored.
        """
        self._tick()
        self._stat.bio_writes += 1
        device = self._device
        return await self._change(
            offset, len(data), lambda fetched: device.write(offset, data, fetched)
        )

    async def discard(self, offset: int, length: int) -> None:
        """Make the bytes at *offset* zero, up to the end of the device.

        Either does, or raises Cancelled with some of the pages freed.
        """
        device = self._device
        steps = await self._change(
            offset, length, lambda fetched: device.discard(offset, length, fetched)
        )
        # Without an await in between: the edges are zeroed in the first step.
        await run_steps(steps)

    async def _write_back(self, writes: Writes) -> None:
        """Write pages back; or raise Cancelled, with some of them in memory still."""
        await WriteBack(self.io, self._spill(), self._device, writes).run()

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
            self._device.files.cwd = cwd
            attribute.store(self._device, text)
            return
        async with self._pass_lock:
            self._tick()
            self._device.files.cwd = cwd
            await run_steps(attribute.store(self._device, text), self._write_back)


async def run_steps(
    steps: Steps | None, write_back: WriteBackPages | None = None
) -> None:
    """Take all *steps*, letting other requests in between; *write_back* as they ask.

    Either takes them all, or raises Cancelled after one of them, with *steps* closed.
    """
    if steps is None:
        return
    try:
        for work in steps:
            if work:
                await _run_with_others(chain((work,), steps), write_back)
            else:
                await trio.lowlevel.checkpoint()
    finally:
        # What a pass has marked must not wait for a garbage collection.
        if isinstance(steps, Generator):
            steps.close()


async def _run_with_others(steps: Steps, write_back: WriteBackPages | None) -> None:
    """Take *steps* of which some ask for work, or for pages to be written back.

    Either takes them all, or raises Cancelled when what was begun has ended.
    """
    failure: ZramError | OSError | None = None
    async with trio.open_nursery() as nursery:
        jobs: dict[Work, _Job] = {}
        try:
            for work in steps:
                if work is None:
                    await trio.lowlevel.checkpoint()
                elif isinstance(work, Writes):
                    # invariant: only control files write pages back.
                    assert write_back, work
                    await write_back(work)
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
