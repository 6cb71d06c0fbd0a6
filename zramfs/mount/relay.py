"""Between the lane and libfuse: requests over, replies back.

libfuse has one end of a SOCK_SEQPACKET pair and takes it for /dev/fuse. What is
sent there is a request as it came, with exceptions: a WRITE to a control file is cut
to what such a file takes, and an INTERRUPT is dropped. What comes back is copied to
/dev/fuse as it is, but for the answer to INIT.

FALLOCATE and LSEEK of a control file are answered here. libfuse answers ENOSYS,
which the kernel remembers of the whole mount: it would ask for neither again, and a
look at mm_stat with grep(1) would be the end of holes in the swapfile.
"""

import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from zramfs.errors import InvalidValue, ModeNotSupported, NoData
from zramfs.mount import wire
from zramfs.mount.files import ATTRIBUTE_SIZE
from zramfs.mount.initialising import Initialising
from zramfs.mount.replies import refuse, reply

_REPLY_SIZE: Final = 1 << 20
"""The largest reply of libfuse's that is copied."""

_CONTROL_WRITE_END: Final = wire.WRITE_IN_END + ATTRIBUTE_SIZE

_MAX_BACKGROUND: Final = 128
"""Asynchronous requests in flight, as many as a loop device sends; FUSE has 12."""

_CONGESTION_THRESHOLD: Final = 96


class Relay:
    """The way to libfuse and back: *libfuse* is our end, and must not block."""

    __slots__ = (
        "_backlog",
        "_connection",
        "_init_unique",
        "_initialising",
        "_libfuse",
        "_note_init",
        "_replayed",
        "nr_unanswered",
    )

    def __init__(
        self,
        connection: int,
        libfuse: socket.socket,
        note_init: Callable[[memoryview], None] | None = None,
        initialising: Initialising | None = None,
    ) -> None:
        self._connection = connection
        self._libfuse = libfuse
        # Who is shown the INIT request.
        self._note_init = note_init
        # Who knows a store that must not be done twice.
        self._initialising = initialising
        # Requests that the socket has no room for.
        self._backlog: deque[bytes] = deque()
        # The INIT request, whose answer is completed on its way.
        self._init_unique: int | None = None
        # Another, which the kernel has had its answer to long ago.
        self._replayed: int | None = None
        self.nr_unanswered = 0
        """Requests that libfuse has not answered yet."""

    def send(self, opcode: int, unique: int, request: memoryview) -> None:
        """Hand *request* to libfuse; it is copied."""
        if len(request) < wire.IN_HEADER_SIZE:
            raise InvalidValue(f"a request of {len(request)} bytes")
        if opcode == wire.FUSE_INTERRUPT:
            return  # whatever it means is answered soon, or must not be cut short
        if opcode == wire.FUSE_FALLOCATE:
            raise ModeNotSupported("fallocate of a control file")
        if opcode == wire.FUSE_LSEEK:
            self._seek(unique, request)
            return
        if opcode == wire.FUSE_INIT:
            self._take_init(unique, request)
        if opcode == wire.FUSE_WRITE and self._is_done(unique, request):
            return
        if opcode == wire.FUSE_WRITE and len(request) > _CONTROL_WRITE_END:
            # A control file takes no more; a socket may not carry it.
            request = request[:_CONTROL_WRITE_END]
            wire.U32.pack_into(request, 0, _CONTROL_WRITE_END)
            wire.U32.pack_into(request, wire.WRITE_IN_SIZE, ATTRIBUTE_SIZE)
        self._hand_over(opcode, request)

    def _take_init(self, unique: int, request: memoryview) -> None:
        self._init_unique = unique
        if self._note_init:
            self._note_init(request)

    def _is_done(self, unique: int, request: memoryview) -> bool:
        """Answer a store that another process has done but not answered."""
        (nodeid,) = wire.NODEID.unpack_from(request, wire.IN_HEADER_NODEID)
        if not self._initialising or not self._initialising.is_done(nodeid, unique):
            return False
        taken = min(len(request) - wire.WRITE_IN_END, ATTRIBUTE_SIZE)
        answer = wire.pack_write_out(wire.WRITE_OUT_SIZE, 0, unique, taken, 0)
        reply(self._connection, answer)
        return True

    def replay_init(self, request: bytes) -> None:
        """Give libfuse the INIT of a connection that has been in use before."""
        _, opcode, self._replayed = wire.IN_HEADER.unpack_from(request)
        self._hand_over(opcode, memoryview(request))

    def _hand_over(self, opcode: int, request: memoryview) -> None:
        if opcode not in wire.NO_REPLY:
            self.nr_unanswered += 1
        self._backlog.append(request.tobytes())
        self._send_backlog()

    def _seek(self, unique: int, request: memoryview) -> None:
        """Answer the LSEEK of a control file: as in sysfs, all of it is data."""
        if len(request) < wire.LSEEK_END:
            raise InvalidValue(f"an LSEEK of {len(request)} bytes")
        _, offset, whence = wire.LSEEK.unpack_from(request, wire.IN_HEADER_SIZE)
        found = {os.SEEK_DATA: offset, os.SEEK_HOLE: ATTRIBUTE_SIZE}.get(whence)
        if found is None:
            raise InvalidValue(f"lseek whence {whence}")
        if offset >= ATTRIBUTE_SIZE:
            raise NoData(f"the file ends before {offset}")
        answer = wire.LSEEK_OUT.pack(wire.LSEEK_OUT.size, 0, unique, found)
        reply(self._connection, answer)

    def _send_backlog(self) -> None:
        """Send what the socket has room for."""
        while self._backlog:
            try:
                self._libfuse.send(self._backlog[0])
            except BlockingIOError:
                return
            except OSError as error:  # too large, or libfuse has gone
                _, opcode, unique = wire.IN_HEADER.unpack_from(self._backlog[0])
                if opcode not in wire.NO_REPLY:
                    self.nr_unanswered -= 1
                    refuse(self._connection, unique, error, opcode)
            self._backlog.popleft()

    async def copy_replies(self) -> None:
        """Copy what libfuse answers to the kernel until libfuse closes its end.

        Either copies on, or raises Cancelled between two replies.
        """
        while True:
            await trio.lowlevel.wait_readable(self._libfuse)
            try:
                message = bytearray(self._libfuse.recv(_REPLY_SIZE))
            except BlockingIOError:
                continue
            if not message:
                return
            self._copy(message)
            self._send_backlog()

    def _copy(self, message: bytearray) -> None:
        """Copy one answer, or a notification, whose unique is 0."""
        _, _, unique = wire.OUT_HEADER.unpack_from(message)
        if unique:
            self.nr_unanswered -= 1
        if unique == self._replayed:
            self._replayed = None
            return
        if unique == self._init_unique:
            self._init_unique = None
            _complete_init(message)
        try:
            reply(self._connection, bytes(message))
        except OSError as error:
            if unique:
                refuse(self._connection, unique, error, 0)
        if self._initialising:
            self._initialising.end(unique)


def _complete_init(message: bytearray) -> None:
    """Ask for as many asynchronous requests in flight as pay."""
    if len(message) >= wire.INIT_OUT_BACKGROUND + wire.BACKGROUND.size:
        wire.BACKGROUND.pack_into(
            message, wire.INIT_OUT_BACKGROUND, _MAX_BACKGROUND, _CONGESTION_THRESHOLD
        )
