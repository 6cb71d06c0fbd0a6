"""Transfers to and from the backing device, many at a time, and none waited for.

A transfer is begun by the kernel itself (`zramfs.mount.aio`); what it would have to
wait for there, and what it does not do whole, is a thread's, which takes its time and
finds the error. Either tells its end to one eventfd, and whoever looks there next, a
trio task or the lane between two requests, ends all that have come by then: they call
back in the one thread in which the core is called.
"""

import ctypes
import errno
import logging
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Final

import trio

from zramfs.errors import ShortTransfer
from zramfs.mount.aio import Aio
from zramfs.spill import Spill
from zramfs.units import PAGE_SHIFT, PAGE_SIZE

log = logging.getLogger(__name__)

_NR_IOCBS: Final = 256
"""More than the reads in flight, and the writes of a writeback, together."""

_WOULD_WAIT: Final = frozenset({errno.EAGAIN, errno.EOPNOTSUPP})
"""Errors of a transfer that was not to wait."""

_READ_ONLY: Final = frozenset({errno.EPERM, errno.EBADF})
"""Errors of writing to a read-only block device, and to what stands for a lost one."""

_NR_THREADS: Final = 16
"""Of direct I/O there is nothing to gain from more; they are started when needed."""

_MOST_PLUGGED: Final = 4
"""Transfers that are kept at most. With up to 2, 4, 8 and 16 of them, 36, 35 to 44, 33
and 27 thousand pages a second came at depth 16."""

READ_BYTES: Final = 16 * PAGE_SIZE
"""The most that one read transfers."""

_NR_READS: Final = 128
"""Reads in flight: as many as the kernel sends requests (max_background)."""


class Buffer:
    """Memory that direct I/O can use: *view*, at *address*; its first is *page*."""

    __slots__ = ("_pages", "address", "page", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.page = view[:PAGE_SIZE]
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(view))
        self._pages: list[memoryview] = []

    @property
    def pages(self) -> Sequence[memoryview]:
        """Its pages; cutting them takes as long as making half of their checksums."""
        if not self._pages:
            starts = range(0, len(self.view), PAGE_SIZE)
            self._pages = [self.view[start : start + PAGE_SIZE] for start in starts]
        return self._pages


def make_buffers(count: int, length: int) -> list[Buffer]:
    """Return *count* buffers of *length* bytes, which take no memory before use."""
    area = memoryview(mmap.mmap(-1, count * length))
    return [
        Buffer(area[start : start + length])
        for start in range(0, count * length, length)
    ]


Failure = OSError | ShortTransfer | None
"""How a transfer ended."""

EndIo = Callable[[memoryview, Failure], None]
"""Called once with what a transfer was of, and the error that there was."""


def _ignore(_view: memoryview, _failure: Failure) -> None:
    """Let a transfer end that nobody waits for."""


@dataclass(slots=True, eq=False)
class Transfer:
    """Bytes on their way between *view* and adjacent blocks, from *block* on."""

    spill: Spill
    block: int
    view: memoryview
    address: int
    end_io: EndIo
    writes: bool = False
    buffer: Buffer | None = None
    """What is to be given back at the end."""

    def run(self) -> Failure:
        """Transfer all of it, however long that takes; return the error."""
        done = 0
        step = os.pwritev if self.writes else os.preadv
        while done < len(self.view):
            try:
                count = step(
                    self.spill.fd,
                    [self.view[done:]],
                    (self.block << PAGE_SHIFT) + done,
                )
            except OSError as error:
                if error.errno in _READ_ONLY:
                    # From a kernel's bio it is EIO.
                    return OSError(errno.EIO, f"{self.spill.path} is read-only")
                return error
            if not count:
                return ShortTransfer(f"{self.spill.path} ends after {done} bytes")
            done += count
        return None


class SpillIo:
    """The transfers of one mount.

    Without *nr_iocbs* all are done by threads.
    """

    def __init__(self, nr_iocbs: int = _NR_IOCBS) -> None:
        self._eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._nr_iocbs = nr_iocbs
        self._aio: Aio[Transfer] | None = None
        # What the threads are to do, how much they have not ended, and what they have.
        self._queue: SimpleQueue[Transfer | None] = SimpleQueue()
        self._nr_queued = 0
        self._nr_threads = 0
        self._ended: deque[tuple[Transfer, Failure]] = deque()
        self._buffers: list[Buffer] = []
        self._is_open = False
        # Reads that wait for a buffer.
        self._waiting: deque[tuple[Spill, Callable[[], None]]] = deque()
        self.nr_in_flight = 0
        """Transfers that were begun and have not ended."""
        self._is_plugged = False
        self._has_prepared = False

    def open(self) -> None:
        """Take from the system what only a mount with a backing device needs.

        OSError if that cannot be had; nothing can be transferred then.
        """
        if self._is_open:
            return
        self._buffers = make_buffers(_NR_READS, READ_BYTES)
        if self._nr_iocbs:
            try:
                self._aio = Aio(self._nr_iocbs, self._eventfd)
            except OSError as error:
                log.info("no asynchronous I/O: %s", error.strerror)
        self._is_open = True

    def close(self) -> None:
        """Let threads that have nothing to do end."""
        for _ in range(self._nr_threads):
            self._queue.put(None)

    def read(self, spill: Spill, block: int, nr_pages: int, end_io: EndIo) -> None:
        """Read up to READ_BYTES of adjacent blocks, and call *end_io* with them.

        The memory is theirs during the call only.
        """
        self.open()
        if not self._buffers:
            spill.hold()
            begin = partial(self.read, spill, block, nr_pages, end_io)
            self._waiting.append((spill, begin))
            return
        buffer = self._buffers.pop()
        view = buffer.page if nr_pages == 1 else buffer.view[: nr_pages << PAGE_SHIFT]
        address = buffer.address
        # By position: it is half as quick with names.
        self.start(Transfer(spill, block, view, address, end_io, False, buffer))  # noqa: FBT003

    def begin_page(self, spill: Spill, block: int) -> Transfer | None:
        """Begin to read one block, if there is a buffer for it now.

        What is returned is to be told, in `end_io`, what to call; that is early enough
        until others run.
        """
        if not self._buffers:
            return None
        buffer = self._buffers.pop()
        page, address = buffer.page, buffer.address
        transfer = Transfer(spill, block, page, address, _ignore, False, buffer)  # noqa: FBT003
        self.start(transfer)
        return transfer

    def plug(self) -> None:
        """Keep what is started until `flush`, or `unplug`: it costs less together.

        But neither the first of all, which nothing else would hold up, nor so many
        that the device would have nothing to do meanwhile.
        """
        self._is_plugged = True

    def unplug(self) -> None:
        """End what `plug` began."""
        self._is_plugged = False
        self.flush()

    def flush(self) -> None:
        """Begin what was kept."""
        if self._has_prepared and self._aio:
            self._has_prepared = False
            for transfer in self._aio.submit():
                # It would have to wait, or a thread finds the same error.
                self._queue_up(transfer)

    def start(self, transfer: Transfer) -> None:
        """Begin a transfer; `open` must have been called."""
        spill = transfer.spill
        spill.hold()
        self.nr_in_flight += 1
        nr_prepared = 0
        if self._aio and spill.is_direct:
            nr_prepared = self._aio.prepare(
                transfer,
                spill.fd,
                transfer.address,
                len(transfer.view),
                transfer.block << PAGE_SHIFT,
                writes=transfer.writes,
            )
        if not nr_prepared:
            self._queue_up(transfer)
            return
        self._has_prepared = True
        is_first = nr_prepared == self.nr_in_flight
        if not self._is_plugged or is_first or nr_prepared == _MOST_PLUGGED:
            self.flush()

    def _queue_up(self, transfer: Transfer) -> None:
        """Leave a transfer to a thread."""
        self._nr_queued += 1
        self._queue.put(transfer)
        if self._nr_queued > self._nr_threads < _NR_THREADS:
            self._start_thread()

    def _start_thread(self) -> None:
        """Start another thread; without any, what waits for one has failed."""
        # A daemon: a device that hangs must not keep the process from ending.
        thread = threading.Thread(target=self._work, name="spill", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not self._nr_threads and (transfer := self._queue.get()):
                failure = OSError(errno.EAGAIN, f"no thread for it: {error}")
                self._ended.append((transfer, failure))
                os.eventfd_write(self._eventfd, 1)
            return
        self._nr_threads += 1

    def _work(self) -> None:
        while transfer := self._queue.get():
            self._ended.append((transfer, transfer.run()))
            os.eventfd_write(self._eventfd, 1)

    def reap(self) -> int:
        """End what has come; return how many transfers that were."""
        nr_ended = 0
        if self._aio:
            # All were taken first: whoever is called back may begin others.
            for transfer, result in self._aio.reap():
                if result == len(transfer.view):
                    self._end(transfer, None)
                elif result >= 0 or -result in _WOULD_WAIT:
                    self._queue_up(transfer)  # the rest, too, is a thread's
                    continue
                else:
                    self._end(transfer, OSError(-result, os.strerror(-result)))
                nr_ended += 1
        while self._ended:
            transfer, failure = self._ended.popleft()
            self._nr_queued -= 1
            self._end(transfer, failure)
            nr_ended += 1
        return nr_ended

    def _end(self, transfer: Transfer, failure: Failure) -> None:
        self.nr_in_flight -= 1
        try:
            transfer.end_io(transfer.view, failure)
        except Exception:
            # Whatever it is, it must not keep the others from ending.
            log.exception("the end of a transfer of block %d", transfer.block)
        transfer.spill.drop()
        if transfer.buffer:
            self._buffers.append(transfer.buffer)
            if self._waiting:
                spill, begin = self._waiting.popleft()
                begin()
                spill.drop()

    async def run(self) -> None:
        """End transfers for ever; or raise Cancelled with none lost."""
        while True:
            await trio.lowlevel.wait_readable(self._eventfd)
            # Before looking, never after: a thread may end its transfer in between.
            with suppress(BlockingIOError):
                os.eventfd_read(self._eventfd)
            self.reap()
