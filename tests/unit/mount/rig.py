"""A lane between a kernel and a libfuse that are both the test.

A pair of SOCK_SEQPACKET sockets is to the lane what /dev/fuse is: a message at a
time, and never waited for.
"""

import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, ParamSpec, TypeVar

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.unit.mount.wires import Reply, parsed
from zramfs.core.device import Device
from zramfs.mount.bio import Bio
from zramfs.mount.paths import Paths, RwPage
from zramfs.mount.relay import Relay
from zramfs.mount.rw_page import Lane

P = ParamSpec("P")
R = TypeVar("R")

_MESSAGE_MAX: Final = 1 << 20


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets that do not block."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.settimeout(0)
    return ends


def drain(end: socket.socket) -> list[bytes]:
    """Return the messages that wait at *end*."""
    messages = []
    try:
        while message := end.recv(_MESSAGE_MAX):
            messages.append(message)
    except BlockingIOError:
        pass
    return messages


class Rig:
    """One lane, and both its neighbours."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.kernel, self.connection = pair()
        self.lane_end, self.libfuse = pair()
        self.paths = Paths(RwPage.ALWAYS)
        self.bio = Bio(device, self.paths.stat)
        connection = self.connection.fileno()
        relay = Relay(connection, self.lane_end)
        self.lane = Lane(device, self.bio, self.paths, connection, relay)

    def close(self) -> None:
        for end in (self.kernel, self.connection, self.lane_end, self.libfuse):
            end.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Let the lane serve meanwhile."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.lane.serve)
            yield
            nursery.cancel_scope.cancel()

    def ask(self, *requests: bytes) -> list[Reply]:
        """Send *requests*, let the lane serve until it sleeps; return the answers."""
        return [parsed(message) for message in self.ask_raw(*requests)]

    def ask_raw(self, *requests: bytes) -> list[bytes]:
        """Return the same answers as they came."""

        async def until_it_sleeps() -> None:
            async with self.serving():
                await wait_all_tasks_blocked()

        for request in requests:
            self.kernel.send(request)
        trio.run(until_it_sleeps)
        return drain(self.kernel)

    def answers(self) -> list[Reply]:
        """Return what the kernel was answered and has not taken yet."""
        return [parsed(message) for message in drain(self.kernel)]

    def make_small(self, end: socket.socket) -> None:
        """Let *end* have but a few KiB under way."""
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)

    def handed_over(self) -> list[bytes]:
        """Return what libfuse was given and has not taken yet."""
        return drain(self.libfuse)


class DevFuse:
    """What /dev/fuse can do and a socket cannot, for one connection.

    *read_errors* and *write_errors* end a read and a write each; a request of
    *late* arrives just after a read has found none.
    """

    def __init__(
        self,
        connection: socket.socket,
        kernel: socket.socket,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self._fd = connection.fileno()
        self._kernel = kernel
        self.read_errors: list[int] = []
        self.write_errors: list[int] = []
        self.late: deque[bytes] = deque()
        for name in ("read", "readv"):
            monkeypatch.setattr(os, name, self._reading(getattr(os, name)))
        for name in ("write", "writev"):
            monkeypatch.setattr(os, name, self._writing(getattr(os, name)))

    def _is_asked(self, fd: object) -> bool:
        return fd == self._fd

    def _reading(self, call: Callable[P, R]) -> Callable[P, R]:
        def reading(*args: P.args, **kwargs: P.kwargs) -> R:
            if self._is_asked(args[0]):
                _fail_with(self.read_errors)
            try:
                return call(*args, **kwargs)
            except BlockingIOError:
                if self.late and self._is_asked(args[0]):
                    self._kernel.send(self.late.popleft())
                raise

        return reading

    def _writing(self, call: Callable[P, R]) -> Callable[P, R]:
        def writing(*args: P.args, **kwargs: P.kwargs) -> R:
            if self._is_asked(args[0]):
                _fail_with(self.write_errors)
            return call(*args, **kwargs)

        return writing


def _fail_with(errors: list[int]) -> None:
    if errors:
        number = errors.pop(0)
        raise OSError(number, os.strerror(number))


@contextmanager
def opened_rig(device: Device) -> Iterator[Rig]:
    """Yield a lane in front of *device*; close its ends at the end."""
    rig = Rig(device)
    try:
        yield rig
    finally:
        rig.close()
