"""The lane: requests answered where they are read, without a task.

What ``rw_page`` was to a block device. The lane reads /dev/fuse; a READ, WRITE,
FALLOCATE or LSEEK of the swapfile that the core can answer at once is answered in
place. A READ or WRITE that it declines becomes a bio task which answers by itself.
Everything else goes, as it came, to libfuse behind a socketpair that it takes for
/dev/fuse, and what libfuse answers is copied back.

              +--> core, answered here
    /dev/fuse +--> bio task ---------------------> /dev/fuse
              +--> socketpair --> pyfuse3 --> socketpair --> /dev/fuse

Requests are taken in bursts: as long as there are any, and for a moment longer,
because waking from epoll costs several times what a request does. Between two
bursts the other tasks run.
"""

import errno
import os
import select
import time
from collections.abc import Coroutine
from functools import partial
from typing import Final

import trio

from zramfs.core.device import Device
from zramfs.core.ranges import IN_PAGE
from zramfs.errors import InvalidValue, ModeNotSupported, NotResident
from zramfs.mount import wire
from zramfs.mount.bio import Bio
from zramfs.mount.paths import Paths
from zramfs.mount.relay import Relay
from zramfs.mount.replies import refuse, reply
from zramfs.mount.takeover import Heir, Openers
from zramfs.mount.tree import SWAPFILE_INODE
from zramfs.mount.wire import (
    FUSE_READ,
    FUSE_WRITE,
    OUT_HEADER_SIZE,
    READ_IN_END,
    WRITE_IN_END,
    WRITE_OUT_SIZE,
    pack_out_header,
    pack_write_out,
    unpack_request,
)
from zramfs.units import PAGE_SIZE

_BUFFER_SIZE: Final = (1 << 20) + PAGE_SIZE
"""max_write and the headers; read(2) of /dev/fuse refuses less."""

_BURST: Final = 64
"""Requests served before other tasks run: about 0.5 ms of 4 KiB requests."""

_SPIN_NS: Final = 50_000
"""How long the lane polls for the next request when it has just served one.

Sleeping and waking through epoll and trio takes about 30 us, a client answering a
reply with its next request 10 to 40.
"""

_SMALL_DISCARD: Final = 1 << 20
"""Bytes that are discarded in place; more becomes a task that takes its time."""

_FREEING_MODES: Final = frozenset(
    {wire.FALLOC_FL_PUNCH_HOLE, wire.FALLOC_FL_ZERO_RANGE}
)


class Lane:
    """The reader of one FUSE connection.

    *connection* is /dev/fuse, and must not block; *relay* leads to libfuse.
    """

    def __init__(
        self,
        device: Device,
        bio: Bio,
        paths: Paths,
        connection: int,
        relay: Relay,
        heir: Heir | None = None,
    ) -> None:
        self._device = device
        self._bio = bio
        self._paths = paths
        self._connection = connection
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._reply = partial(reply, connection)
        self._relay = relay
        self._heir = heir
        self._openers = Openers(device)
        # Multiplied, to be touched: a request that is read into memory that is not
        # there fails if this process is killed in the middle of it.
        self._buffer = bytearray(1) * _BUFFER_SIZE
        self._view = memoryview(self._buffer)
        self._tasks: trio.Nursery | None = None
        # Bio tasks that have not answered yet.
        self._nr_tasks = 0
        self._ended = False

    async def serve(self) -> None:
        """Serve until the filesystem is unmounted.

        Either serves to the end, or raises Cancelled between two requests.
        """
        async with trio.open_nursery() as self._tasks:
            self._tasks.start_soon(self._relay.copy_replies)
            self._tick()
            if self._heir:
                self._heir.take_over(self._buffer, self._serve_one)
            while True:
                nr_served = self._burst()
                if self._ended:
                    break
                if nr_served:
                    await trio.lowlevel.checkpoint()
                else:
                    await trio.lowlevel.wait_readable(self._connection)
            self._tasks.cancel_scope.cancel()

    def _tick(self) -> None:
        self._device.tick(int(time.clock_gettime(time.CLOCK_BOOTTIME)))

    def _burst(self) -> int:
        """Serve what there is, and what comes within a moment; return how many."""
        readv, connection, buffers = os.readv, self._connection, (self._buffer,)
        io = self._bio.io
        self._tick()
        nr_served = 0
        io.plug()
        while nr_served < _BURST:
            try:
                length = readv(connection, buffers)
            except BlockingIOError:
                io.flush()
                if self._spin(nr_served):
                    continue
                break
            except OSError as error:
                if self._is_end(error):
                    break
                continue
            self._serve_one(length)
            nr_served += 1
        io.unplug()
        return nr_served

    def _spin(self, nr_served: int) -> bool:
        """Wait for a moment; whether to look for a request before others run.

        Reads from the backing device end here, too: sooner than in a task.
        """
        io = self._bio.io
        if io.nr_in_flight and io.reap():
            return True
        if self._nr_tasks or self._relay.nr_unanswered:
            return False
        if not (nr_served or io.nr_in_flight):
            return False
        self._paths.stat.spins += 1
        poll, now_ns = self._poll.poll, time.perf_counter_ns
        end = now_ns() + _SPIN_NS
        while now_ns() < end:
            # Reading in vain takes three times as long: it raises.
            if poll(0):
                self._paths.stat.spins_paid += 1
                return True
            if io.nr_in_flight and io.reap():
                return True
        return False

    def _is_end(self, error: OSError) -> bool:
        """Whether reading failed because the mount is gone, not just a request."""
        if error.errno in (errno.ENOENT, errno.EINTR):
            return False
        self._ended = error.errno == errno.ENODEV
        if not self._ended:
            raise error
        return True

    def _serve_one(self, length: int) -> None:
        """Answer the request in the buffer, or see to it that it is answered."""
        _, opcode, unique, nodeid, _, offset, size = unpack_request(self._buffer)
        try:
            if nodeid != SWAPFILE_INODE:
                self._relay.send(opcode, unique, self._view[:length])
            elif opcode == FUSE_READ:
                self._read(unique, offset, size, length)
            elif opcode == FUSE_WRITE:
                self._write(unique, offset, size, length)
            else:
                self._serve_rare(opcode, unique, length)
        except Exception as error:  # noqa: BLE001  # it costs this request only
            if length >= wire.IN_HEADER_SIZE:  # else the header is of another
                self._refuse(unique, error, opcode)

    def _serve_rare(self, opcode: int, unique: int, length: int) -> None:
        """Serve a request of the swapfile that is neither READ nor WRITE."""
        if opcode == wire.FUSE_FALLOCATE:
            self._fallocate(unique, length)
        elif opcode == wire.FUSE_LSEEK:
            self._lseek(unique, length)
        elif opcode in wire.COUNTED:
            self._count(opcode, unique, length)
        else:
            self._relay.send(opcode, unique, self._view[:length])

    def _read(self, unique: int, offset: int, size: int, length: int) -> None:
        if length < READ_IN_END:
            raise InvalidValue(f"a READ of {length} bytes")
        paths = self._paths
        if not paths.is_synchronous:
            paths.stat.declined_reads += 1
            self._start(unique, FUSE_READ, self._bio_read(unique, offset, size))
            return
        device = self._device
        if size == PAGE_SIZE and not offset & IN_PAGE and offset < device.disksize:
            page = device.read_page(offset, paths.mark)
            if not isinstance(page, bytes):
                if not self._bio.submit_page(offset, page, self._end_read, unique):
                    end = partial(self._end_read, unique)
                    self._bio.submit_read(offset, size, end)
                self._count_spilled()
                return
        else:
            try:
                page = device.read(offset, size, paths.mark)
            except NotResident:
                self._bio.submit_read(offset, size, partial(self._end_read, unique))
                self._count_spilled()
                return
        paths.stat.lane_reads += 1
        self._reply(pack_out_header(OUT_HEADER_SIZE + len(page), 0, unique), page)

    def _count_spilled(self) -> None:
        stat = self._paths.stat
        stat.declined_reads += 1
        stat.declined_spilled += 1

    def _end_read(self, unique: int, answer: bytes | Exception) -> None:
        """Answer a READ that had to wait for the backing device."""
        if self._ended:
            return
        if not isinstance(answer, bytes):
            self._refuse(unique, answer, FUSE_READ)
            return
        header = pack_out_header(OUT_HEADER_SIZE + len(answer), 0, unique)
        try:
            self._reply(header, answer)
        except OSError as error:
            self._refuse(unique, error, FUSE_READ)

    def _write(self, unique: int, offset: int, size: int, length: int) -> None:
        end = WRITE_IN_END + size
        if length < end:
            raise InvalidValue(f"a WRITE of {size} bytes in {length}")
        data = self._view[WRITE_IN_END:end]
        paths = self._paths
        if not paths.is_synchronous:
            self._decline_write(unique, offset, data)
            return
        try:
            written = self._device.write(offset, data)
        except NotResident:
            paths.stat.declined_spilled += 1
            self._decline_write(unique, offset, data)
            return
        paths.stat.lane_writes += 1
        self._reply(pack_write_out(WRITE_OUT_SIZE, 0, unique, written, 0))

    def _decline_write(self, unique: int, offset: int, data: memoryview) -> None:
        self._paths.stat.declined_writes += 1
        # The buffer is used again before the task runs.
        task = self._bio_write(unique, offset, memoryview(data.tobytes()))
        self._start(unique, FUSE_WRITE, task)

    def _fallocate(self, unique: int, length: int) -> None:
        if length < wire.FALLOCATE_END:
            raise InvalidValue(f"a FALLOCATE of {length} bytes")
        _, offset, size, mode = wire.FALLOCATE.unpack_from(
            self._buffer, wire.IN_HEADER_SIZE
        )
        if mode & ~wire.FALLOC_FL_KEEP_SIZE not in _FREEING_MODES:
            raise ModeNotSupported(f"fallocate mode {mode:#x}")
        self._paths.stat.discards += 1
        try:
            steps = self._device.discard(offset, size)
        except NotResident:
            steps = None
        if steps is None or size > _SMALL_DISCARD:
            task = self._discard(unique, offset, size)
            self._start(unique, wire.FUSE_FALLOCATE, task)
            return
        for _ in steps:
            pass
        self._reply(pack_out_header(OUT_HEADER_SIZE, 0, unique))

    def _lseek(self, unique: int, length: int) -> None:
        if length < wire.LSEEK_END:
            raise InvalidValue(f"an LSEEK of {length} bytes")
        _, offset, whence = wire.LSEEK.unpack_from(self._buffer, wire.IN_HEADER_SIZE)
        if whence == os.SEEK_DATA:
            found = self._device.seek_data(offset)
        elif whence == os.SEEK_HOLE:
            found = self._device.seek_hole(offset)
        else:
            raise InvalidValue(f"lseek whence {whence}")
        self._reply(wire.LSEEK_OUT.pack(wire.LSEEK_OUT.size, 0, unique, found))

    def _count(self, opcode: int, unique: int, length: int) -> None:
        """Answer an OPEN or a RELEASE here, where the answer is next to the count."""
        if length < wire.IN_HEADER_SIZE:
            raise InvalidValue(f"an opcode {opcode} of {length} bytes")
        self._openers.begin(unique)
        if opcode == wire.FUSE_OPEN:
            self._device.open()
            size, flags = wire.OPEN_OUT.size, wire.FOPEN_DIRECT_IO
            opened = (size, 0, unique, SWAPFILE_INODE, flags, 0)
            self._reply(wire.OPEN_OUT.pack(*opened))
        else:
            self._device.release()
            self._reply(pack_out_header(OUT_HEADER_SIZE, 0, unique))
        self._openers.end()

    def _start(
        self, unique: int, opcode: int, answer: Coroutine[object, object, None]
    ) -> None:
        """Start a bio task that answers the request by itself."""
        # invariant: requests are served within serve() only.
        assert self._tasks, "serving outside serve()"
        self._nr_tasks += 1
        self._tasks.start_soon(self._run_task, unique, opcode, answer)

    async def _run_task(
        self, unique: int, opcode: int, answer: Coroutine[object, object, None]
    ) -> None:
        """Await *answer*; whatever it raises is the answer then.

        Either answers, or raises Cancelled when the mount has ended.
        """
        try:
            await answer
        except Exception as error:  # noqa: BLE001  # it costs this request only
            self._refuse(unique, error, opcode)
        finally:
            self._nr_tasks -= 1

    async def _bio_read(self, unique: int, offset: int, size: int) -> None:
        """Answer a READ; either does, or raises Cancelled with nothing changed."""
        data = await self._bio.read(offset, size)
        self._reply(pack_out_header(OUT_HEADER_SIZE + len(data), 0, unique), data)

    async def _bio_write(self, unique: int, offset: int, data: memoryview) -> None:
        """Answer a WRITE; either does, or raises Cancelled with nothing stored."""
        written = await self._bio.write(offset, data)
        self._reply(pack_write_out(WRITE_OUT_SIZE, 0, unique, written, 0))

    async def _discard(self, unique: int, offset: int, size: int) -> None:
        """Answer a FALLOCATE; or raise Cancelled with some of the pages freed."""
        await self._bio.discard(offset, size)
        self._reply(pack_out_header(OUT_HEADER_SIZE, 0, unique))

    def _refuse(self, unique: int, error: Exception, opcode: int) -> None:
        refuse(self._connection, unique, error, opcode)
