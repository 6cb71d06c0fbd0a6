"""One zram device: its configuration, its life, its pages, its counters.

Everything here is synchronous, so every call is atomic: whoever calls from a
task sees the device between two requests, never inside one.
"""

from collections.abc import Callable, Sequence
from typing import Final

from zramfs.core import ranges
from zramfs.core.backing import BackingDev, OpenBacking
from zramfs.core.codecs import Params
from zramfs.core.config import DeviceConfig
from zramfs.core.header import Header
from zramfs.core.layout import Layout, Memory
from zramfs.core.lifecycle import Event, State, advance
from zramfs.core.named_files import NamedFiles
from zramfs.core.postprocess import Recompression, recompress
from zramfs.core.ranges import IN_PAGE, NOTHING, Fetched, Plan
from zramfs.core.spilled import Spilled
from zramfs.core.stats import BdStat, BlockStat, Counters, IoStat, MmStat
from zramfs.core.steps import Beside, Steps
from zramfs.core.store import Store
from zramfs.core.writeback import Scan, Writeback
from zramfs.errors import (
    DeviceBusy,
    InvalidValue,
    NoData,
    NoSpace,
    NotInitialised,
    NotResident,
    ReadFailed,
    WriteFailed,
    ZramError,
)
from zramfs.units import PAGE_SHIFT, PAGE_SIZE, BlockIndex, PageIndex, page_align

_STATES: Final = tuple(State)
"""The header's word for a state is its place in here."""


class Device:
    """One zram device: that in *memory*, or a new one in new memory.

    What a process left that died at any moment is taken over: a device that was
    initialised has all its pages, whatever was half done is undone, but a reset is
    completed. InvalidValue if an algorithm is not what it was; all is unchanged then.
    """

    __slots__ = (
        "_beside",
        "_header",
        "_memory",
        "_now_s",
        "_store",
        "backing",
        "config",
        "counters",
        "disksize",
        "files",
        "idle_openers",
    )

    def __init__(
        self,
        memory: Memory,
        read_file: Callable[[str], bytes] | None = None,
        open_backing: OpenBacking | None = None,
        beside: Beside | None = None,
    ) -> None:
        self._memory = memory
        self._beside = beside
        self._header = memory.header.words
        self.files = NamedFiles(read_file)
        self._now_s = 0
        self._store: Store | None = None
        self.disksize = 0
        """Uncompressed capacity in bytes; 0 until initialised."""
        self.config = DeviceConfig.from_json(memory.header.config)
        """The algorithms and their parameters."""
        self.backing = BackingDev(self._header, open_backing)
        """The backing device, and the settings of writeback."""
        self.counters = Counters.from_buffer(memory.header.counters)
        self.idle_openers = 0  # those that keep no reset off: idle loop devices
        self._recover()

    def _recover(self) -> None:
        """Come to a state that a device can be in between two calls."""
        if self.state is not State.RESETTING and self.config.backing_dev:
            self.backing.choose(self.backing.reopen(self.config.backing_dev))
        if self.state is State.READY:
            layout = Layout.load(self._header)
            codecs = self.config.open_codecs()
            arena = self._memory.map(layout.nr_bytes)
            store = Store(arena, layout, codecs, self.header, self._beside)
            store.recover()
            self._use(store)
        elif self.state is State.RESETTING:
            self._forget()
        else:
            self._memory.unmap()

    @property
    def state(self) -> State:
        """Where the device is in its life."""
        return _STATES[self._header.state]

    def _advance(self, event: Event) -> None:
        self._header.state = _STATES.index(advance(self.state, event))

    @property
    def header(self) -> Header:
        """What is known of the device besides its pages."""
        return self._memory.header

    @property
    def mem_limit(self) -> int:
        """Most bytes that the pool may hold; 0 is no limit."""
        return self._header.mem_limit

    @property
    def openers(self) -> int:
        """How many open files the swapfile has."""
        return self._header.openers

    @openers.setter
    def openers(self, count: int) -> None:
        self._header.openers = count

    @property
    def store(self) -> Store:
        """The pages; NotInitialised without a disksize."""
        if self._store is None:
            raise NotInitialised("the device has no disksize")
        return self._store

    def set_disksize(self, disksize: int) -> None:
        """Initialise the device with room for *disksize* bytes, in whole pages.

        DeviceBusy if it is initialised, OutOfMemory if the memory cannot be had;
        then the device is as it was. InvalidValue if an algorithm refuses its
        parameters; then all of them are the defaults again.
        """
        advance(self.state, Event.SET_DISKSIZE)
        layout = Layout(
            nr_slots=page_align(disksize) >> PAGE_SHIFT,
            nr_blocks=self.backing.nr_blocks,
            seal_bytes=self.backing.seal_bytes,
        )
        arena = self._memory.map(layout.nr_bytes)
        try:
            codecs = self.config.open_codecs()
        except InvalidValue:
            self._memory.unmap()
            self.configure(DeviceConfig().with_backing(self.config.backing_dev))
            raise
        self._use(Store(arena, layout, codecs, self.header, self._beside))
        layout.store(self._header)
        self._advance(Event.SET_DISKSIZE)

    def _use(self, store: Store) -> None:
        store.limit_pages = self.mem_limit >> PAGE_SHIFT
        store.spilling.compressed = self.backing.compressed
        store.now_s = self._now_s
        self._store = store
        self.disksize = store.nr_slots << PAGE_SHIFT

    def configure(self, config: DeviceConfig) -> None:
        """Take *config*, and save it first: it may be too long for that."""
        self.header.config = config.to_json()
        self.config = config

    def set_algorithm(self, priority: int, name: str) -> None:
        """Choose the algorithm of *priority*, one of ALGORITHMS.

        Its parameters are the defaults then.
        """
        self.configure(self.config.with_algorithm(priority, name))

    def set_params(self, priority: int, params: Params) -> None:
        """Choose the parameters of the algorithm of *priority*."""
        self.configure(self.config.with_params(priority, params))

    def set_mem_limit(self, limit: int) -> None:
        """Let the pool hold no more than *limit* bytes, in whole pages; 0: any."""
        self._header.mem_limit = page_align(limit)
        if self._store:
            self._store.limit_pages = self.mem_limit >> PAGE_SHIFT

    def reset_mem_used_max(self) -> None:
        """Begin mem_used_max anew, at what is used now."""
        if self._store:
            self._store.reset_pool_pages_max()

    def reset(self) -> None:
        """Drop all pages, statistics and configuration.

        DeviceBusy while the swapfile is open to others than `idle_openers`.
        """
        if self.openers > self.idle_openers:
            raise DeviceBusy(f"reset refused: the swapfile is open ({self.openers})")
        self._advance(Event.CLAIM)
        if self._store:
            self._store.close()
            self._store = None
        self._forget()

    def _forget(self) -> None:
        """End a reset: nothing is left but who has the memory."""
        self._memory.unmap()
        self.backing.choose(None)
        self.disksize = 0
        self.configure(DeviceConfig())
        self.header.clear_pool()
        self._header.mem_limit = 0
        self.counters.clear()
        self._advance(Event.RESET_DONE)

    def compact(self) -> Steps:
        """Return the steps of a compaction of the pool."""
        return self.store.compact()

    def mark_idle(self, age_s: int | None) -> Steps:
        """Return the steps of marking pages idle: all, or those of *age_s* seconds.

        Nothing is that old if the machine has not been up for so long.
        """
        if age_s is None or age_s == self._now_s:
            return self.store.table.mark_idle(None)
        if age_s > self._now_s:
            return iter(())
        return self.store.table.mark_idle(self._now_s - age_s)

    def recompress(self, request: Recompression) -> Steps:
        """Return the steps of a recompression; InvalidValue without its algorithm."""
        codec = self.store.codec(request.priority)
        if codec is None:
            raise InvalidValue(f"no algorithm has priority {request.priority}")
        return recompress(self.store, codec, request)

    def writeback(self, scans: Sequence[Scan]) -> Steps:
        """Return the steps of writing back what *scans* find."""
        return Writeback(self.store, self.backing, self.counters).steps(scans)

    def tick(self, now_s: int) -> None:
        """Take the time, in seconds since boot, that accesses happen at from now."""
        self._now_s = now_s
        if self._store:
            self._store.now_s = now_s

    def open(self) -> None:
        """Count an opener of the swapfile; DeviceBusy while a reset goes on."""
        if self.state is State.RESETTING:
            raise DeviceBusy("the device is being reset")
        self.openers += 1

    def release(self) -> None:
        """Count an opener off."""
        self.openers -= 1

    def read(self, offset: int, length: int, mark: int = 0) -> bytes:
        """Return the bytes at *offset*: fewer at the end of the device.

        Sets the flags *mark* in the slots read. ReadFailed if a page is corrupt;
        NotResident, with nothing changed or counted, if one is written back.
        """
        length = min(length, self.disksize - offset)
        if length <= 0:
            return b""
        try:
            data = ranges.read_range(self.store, offset, length, mark)
        except NotResident:
            raise
        except ZramError as error:
            raise self._failed_read(length, error) from error
        self.counters.count_read(length)
        return data

    def _failed_read(self, length: int, error: ZramError) -> ReadFailed:
        self.counters.count_read(length)
        self.counters.failed_reads += 1
        return ReadFailed(str(error))

    def read_page(self, offset: int, mark: int) -> bytes | BlockIndex:
        """Return the page at *offset*, as `read`; or, with nothing counted, its block.

        Nearly every request asks for this: no exception, which takes as long as
        reading a page, and no plan.
        """
        try:
            page = self.store.read_or_find(PageIndex(offset >> PAGE_SHIFT), mark)
        except ZramError as error:
            raise self._failed_read(PAGE_SIZE, error) from error
        if isinstance(page, bytes):
            self.counters.count_read(PAGE_SIZE)
        return page

    def pin_page(self, offset: int) -> Spilled:
        """Pin and count the written-back page at *offset*: `plan_read` of one page."""
        spilled = self.store.spilled(PageIndex(offset >> PAGE_SHIFT))
        self.counters.count_read(PAGE_SIZE)
        return spilled

    def plan_read(self, offset: int, length: int) -> Plan:
        """Begin a read some of which may have to be waited for; count it as `read`.

        ReadFailed if a page is corrupt.
        """
        length = max(0, min(length, self.disksize - offset))
        try:
            plan = ranges.plan_read(self.store, offset, length)
        except ZramError as error:
            raise self._failed_read(length, error) from error
        if length:
            self.counters.count_read(length)
        return plan

    def plan_edges(self, offset: int, length: int) -> Plan:
        """Plan to wait for what a write or a discard must read; counts no request."""
        length = max(0, min(length, self.disksize - offset))
        return ranges.plan_edges(self.store, offset, length)

    def write(self, offset: int, data: memoryview, fetched: Fetched = NOTHING) -> int:
        """Store *data* at *offset* and return how many bytes: fewer at the end.

        NoSpace from the end on. WriteFailed if a page cannot be stored: the pages
        before it are, it and the pages after it are as they were. NotResident, with
        nothing changed or counted, if one that is written in part is written back,
        and not *fetched* as it is now.
        """
        length = min(len(data), self.disksize - offset)
        if length <= 0:
            raise NoSpace(f"write at {offset}, the device ends at {self.disksize}")
        counters = self.counters
        try:
            if length == PAGE_SIZE and not offset & IN_PAGE:
                self.store.write(PageIndex(offset >> PAGE_SHIFT), data[:PAGE_SIZE])
            else:
                ranges.write_range(self.store, offset, data[:length], fetched)
        except NotResident:
            raise
        except ZramError as error:
            counters.count_write(length)
            counters.failed_writes += 1
            raise WriteFailed(str(error)) from error
        counters.count_write(length)
        return length

    def discard(self, offset: int, length: int, fetched: Fetched = NOTHING) -> Steps:
        """Make the bytes at *offset* zero, in bounded steps, up to the end.

        Whole pages give their memory back and count in notify_free. NotResident,
        at once, if one at an end is written back, and not *fetched* as it is now.
        """
        end = min(offset + length, self.disksize)
        ranges.check_edges(self.store, offset, end - offset, fetched)
        return ranges.discard_range(self.store, offset, end, fetched)

    def seek_data(self, offset: int) -> int:
        """Return where data is from *offset* on; NoData if there is none."""
        if not 0 <= offset < self.disksize:
            raise NoData(f"no data from {offset} on")
        return ranges.seek_data(self.store, offset)

    def seek_hole(self, offset: int) -> int:
        """Return where zeros are from *offset* on; NoData at the end."""
        if not 0 <= offset < self.disksize:
            raise NoData(f"the device ends before {offset}")
        return ranges.seek_hole(self.store, offset)

    def nr_flagged(self, flag: int) -> int:
        """Return how many slots have *flag*."""
        return self._store.table.nr_flagged(flag) if self._store else 0

    def mm_stat(self) -> MmStat:
        """Return the use of memory."""
        return MmStat.of(self.counters, self.mem_limit, self._store)

    def io_stat(self) -> IoStat:
        """Return failed requests and discarded pages."""
        return IoStat.of(self.counters)

    def bd_stat(self) -> BdStat:
        """Return the use of the backing device."""
        nr_used = self._store.blocks.nr_used if self._store else 0
        return BdStat.of(self.counters, nr_used)

    def block_stat(self) -> BlockStat:
        """Return requests and sectors, as the block layer counts them."""
        return BlockStat.of(self.counters)


Change = Callable[[Device], Steps | None]
"""A parsed store. It changes the device, and may return further work in steps."""
