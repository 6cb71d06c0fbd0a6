"""Taking over a connection from a worker that died.

The kernel knows nothing of it: the connection is as it was, and some requests were
read that nobody has answered.

1. libfuse insists on an INIT before it does anything. The connection's is in the
   header; libfuse is given that, and its answer is dropped (`InitSaver`, `Relay`).
2. FUSE_NOTIFY_RESEND makes the kernel queue what was read and not answered again,
   before all else, with the top bit of `unique` set (Linux 6.9).
3. Those are served like any others. READ, WRITE, FALLOCATE and LSEEK may be done
   twice; so may a store to a control file, but for disksize (`initialising`). An OPEN
   or a RELEASE may be counted only once, though it is not told by looking whether it
   was: `Openers`.
"""

import errno
import os
from collections.abc import Callable
from typing import Final

from zramfs.core.device import Device
from zramfs.core.header import Header
from zramfs.mount import wire
from zramfs.mount.relay import Relay
from zramfs.mount.tree import SWAPFILE_INODE

RESENT: Final = wire.FUSE_UNIQUE_RESEND


def ask_again(connection: int) -> None:
    """Have the kernel send again what was read and not answered."""
    size = wire.OUT_HEADER_SIZE
    os.write(connection, wire.OUT_HEADER.pack(size, wire.FUSE_NOTIFY_RESEND, 0))


def can_resend(init: bytes) -> bool:
    """Whether the kernel that sent this INIT request can do that."""
    if len(init) < wire.INIT_FLAGS2 + wire.U32.size:
        return False
    (flags,) = wire.U32.unpack_from(init, wire.INIT_FLAGS)
    (flags2,) = wire.U32.unpack_from(init, wire.INIT_FLAGS2)
    return bool(flags & wire.FUSE_INIT_EXT and flags2 & wire.FUSE_HAS_RESEND_2)


class Openers:
    """Counts who has the swapfile open, exactly, whenever the process dies.

    The device counts in the header. Between counting and answering, a word next to
    it says which request it is, and another what the count was: if the kernel sends
    that request again, the answer did not arrive, and the count is set back.
    """

    __slots__ = ("_device", "_words")

    # Places in the words. The count is stored plus one, because 0 is none.
    _UNIQUE: Final = 0
    _COUNT: Final = 1

    def __init__(self, device: Device) -> None:
        self._device = device
        self._words = device.header.openers

    def begin(self, unique: int) -> None:
        """Note that the request *unique* is going to change the count."""
        self._words[self._UNIQUE] = unique & ~RESENT
        self._words[self._COUNT] = self._device.openers + 1

    def end(self) -> None:
        """Note that its answer has arrived."""
        self._words[self._COUNT] = 0

    def undo_if_resent(self, unique: int) -> None:
        """Set the count back if *unique*, sent again, is the request noted last."""
        count = self._words[self._COUNT]
        if count and self._words[self._UNIQUE] == unique & ~RESENT:
            self._device.openers = count - 1
            self.end()


class SavedInit:
    """The INIT request of a connection, in its header."""

    __slots__ = ("_header",)

    def __init__(self, header: Header) -> None:
        self._header = header

    @property
    def request(self) -> bytes:
        """The request; empty before there was one."""
        return bytes(self._header.init[: self._header.words.init_length])

    def save(self, request: memoryview) -> None:
        """Keep *request* for whoever takes over."""
        self._header.init[: len(request)] = request
        self._header.words.init_length = len(request)


class Heir:
    """A worker that takes over: what it does before it serves like any other."""

    __slots__ = ("_caught_up", "_connection", "_init", "_openers", "_relay")

    def __init__(
        self,
        device: Device,
        connection: int,
        relay: Relay,
        caught_up: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._relay = relay
        self._init = SavedInit(device.header)
        self._openers = Openers(device)
        self._caught_up = caught_up

    def take_over(self, buffer: bytearray, serve: Callable[[int], None]) -> None:
        """Serve what the worker before has left: *serve* it from the *buffer*.

        What counts openers waits for the rest: until all of that is seen, one of
        them may have been counted before.
        """
        ask_again(self._connection)
        waiting = []
        length = self._read(buffer)
        if not length or _opcode(buffer) != wire.FUSE_INIT:
            self._relay.replay_init(self._init.request)
        while length:
            _, opcode, unique, nodeid, *_ = wire.unpack_request(buffer)
            is_new = not unique & RESENT and opcode not in _OUT_OF_TURN
            if is_new or (opcode in wire.COUNTED and nodeid == SWAPFILE_INODE):
                waiting.append(bytes(buffer[:length]))
            else:
                serve(length)
            if is_new:
                break
            self._openers.undo_if_resent(unique)
            length = self._read(buffer)
        self._openers.end()
        for request in waiting:
            buffer[: len(request)] = request
            serve(len(request))
        self._caught_up()

    def _read(self, buffer: bytearray) -> int:
        """Read a request and return its length; 0 if there is none."""
        while True:
            try:
                return os.readv(self._connection, (buffer,))
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENODEV):
                    return 0
                if error.errno not in (errno.EINTR, errno.ENOENT):
                    raise


_OUT_OF_TURN: Final = frozenset({wire.FUSE_INTERRUPT, *wire.NO_REPLY})
"""Requests that the kernel sends before others, and never again."""


def _opcode(buffer: bytearray) -> int:
    _, opcode, _ = wire.IN_HEADER.unpack_from(buffer)
    return int(opcode)
