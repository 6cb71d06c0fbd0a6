"""``tools/bench --profile``: where the time of a 4 KiB request goes.

No mount: a pair of sockets stands for /dev/fuse, so that nothing but the lane's own
processor time is measured, in this process. For READ and WRITE each:

    codec      LZ4 of one page
    store      the device's part, LZ4 included
    transfer   readv(2) and writev(2) of such messages, and nothing else
    request    all of it, in bursts

What no program on one processor could do without is codec and transfer together: the
floor, of a server that compresses. Beside it, if there is one, stands what a request
of the C server that only copies takes in docs/bench.json.
"""

import json
import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.integration.commands import ROOT
from tests.integration.hog import page
from zramfs.core.codecs import DEFAULT_ALGORITHM, DEFAULTS, open_codec
from zramfs.core.device import Device
from zramfs.memory import MemFile
from zramfs.mount.bio import Bio
from zramfs.mount.paths import Paths, RwPage
from zramfs.mount.relay import Relay
from zramfs.mount.rw_page import Lane
from zramfs.units import PAGE_SIZE, PageIndex

_NR_PAGES: Final = 4096
_BURST: Final = 32
"""Messages that wait when a burst begins: the socket has room for them."""

_ROUNDS: Final = 200

_IN_HEADER: Final = struct.Struct("<IIQQ16x")
_READ_IN: Final = struct.Struct("<QQI20x")
_OUT_HEADER_SIZE: Final = 16
_READ: Final = 15
_WRITE: Final = 16
_SWAPFILE: Final = 2


@dataclass(frozen=True, slots=True)
class Profile:
    """Microseconds of one request, by stage."""

    codec: float
    store: float
    transfer: float
    request: float

    @property
    def floor(self) -> float:
        """What remains if everything else took no time."""
        return self.codec + self.transfer


def _message(opcode: int, index: int, data: bytes = b"") -> bytes:
    body = _READ_IN.pack(_SWAPFILE, index * PAGE_SIZE, PAGE_SIZE) + data
    length = _IN_HEADER.size + len(body)
    return _IN_HEADER.pack(length, opcode, index + 1, _SWAPFILE) + body


def _drain(end: socket.socket) -> None:
    try:
        while end.recv(PAGE_SIZE << 1):
            pass
    except BlockingIOError:
        pass


def _each(work: Callable[[int], object], prepare: Callable[[int], object]) -> float:
    """Return the microseconds of one of the _BURST requests of a call of *work*."""
    times = []
    for number in range(_ROUNDS):
        prepare(number)
        start = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - start)
    return median(times) / _BURST * 1e6


def _indexes(number: int) -> range:
    first = number * _BURST % _NR_PAGES
    return range(first, first + _BURST)


class Bench:
    """A lane whose kernel is here."""

    def __init__(self) -> None:
        self.device = Device(MemFile())
        self.device.set_disksize(_NR_PAGES * PAGE_SIZE)
        for index in range(_NR_PAGES):
            self.device.write(index * PAGE_SIZE, memoryview(page(index)))
        self.kernel, self.connection = self._pair()
        self.libfuse, self._far = self._pair()
        paths = Paths(RwPage.ALWAYS)
        fd = self.connection.fileno()
        bio = Bio(self.device, paths.stat)
        relay = Relay(fd, self.libfuse)
        relay.nr_unanswered = 1  # so that the lane does not poll at the end of a burst
        self.lane = Lane(self.device, bio, paths, fd, relay)

    def close(self) -> None:
        """Close the sockets."""
        for end in (self.kernel, self.connection, self.libfuse, self._far):
            end.close()

    @staticmethod
    def _pair() -> tuple[socket.socket, socket.socket]:
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in ends:
            end.settimeout(0)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 21)
        return ends

    def profile(self, opcode: int) -> Profile:
        """Return what a READ or a WRITE takes."""
        return Profile(
            codec=self._codec(opcode),
            store=self._store(opcode),
            transfer=self._transfer(opcode),
            request=self._request(opcode),
        )

    def _codec(self, opcode: int) -> float:
        codec = open_codec(DEFAULT_ALGORITHM, DEFAULTS)
        pages = [page(index) for index in range(_BURST)]
        objects = [bytes(codec.compress(one)) for one in pages]
        if opcode == _READ:
            decompress = codec.decompress
            return _each(lambda _: [decompress(one) for one in objects], int)
        compress = codec.compress
        return _each(lambda _: [compress(one) for one in pages], int)

    def _store(self, opcode: int) -> float:
        store = self.device.store
        if opcode == _READ:
            return _each(
                lambda number: [store.read(PageIndex(i)) for i in _indexes(number)], int
            )
        views = [memoryview(page(index)) for index in range(_NR_PAGES)]

        def write(number: int) -> None:
            for index in _indexes(number):
                store.write(PageIndex(index), views[index])

        return _each(write, int)

    def _send(self, opcode: int, number: int) -> None:
        """Empty the kernel's end, and let it ask for _BURST pages."""
        _drain(self.kernel)
        for index in _indexes(number):
            data = page(index) if opcode == _WRITE else b""
            self.kernel.send(_message(opcode, index, data))

    def _transfer(self, opcode: int) -> float:
        buffer, fd = bytearray(PAGE_SIZE << 1), self.connection.fileno()
        head, data = bytes(_OUT_HEADER_SIZE), bytes(PAGE_SIZE)
        answer = (head, data) if opcode == _READ else (head, bytes(8))

        def work(_: int) -> None:
            for _ in range(_BURST):
                os.readv(fd, (buffer,))
                os.writev(fd, answer)

        return _each(work, lambda number: self._send(opcode, number))

    def _request(self, opcode: int) -> float:
        # One burst is all that serve() does between two looks at other tasks.
        burst = self.lane._burst  # noqa: SLF001  # measured alone, without trio
        try:
            return _each(lambda _: burst(), lambda number: self._send(opcode, number))
        finally:
            _drain(self.kernel)


def _copying(directory: Path) -> dict[int, float]:
    """Return the microseconds of the C server's requests that were measured last."""
    try:
        rows = dict(json.loads((directory / "bench.json").read_text())["rows"])
    except (OSError, KeyError, ValueError):
        return {}
    found = {}
    for opcode, name in ((_READ, "randread-4k-qd16"), (_WRITE, "randwrite-4k-qd16")):
        speed = rows.get(name, {}).get("median", {}).get("ramfile")
        if speed:
            found[opcode] = 1e3 / speed  # thousands a second
    return found


def main() -> int:
    """Measure and print; return the exit status."""
    copying = _copying(ROOT / "docs")
    with closing(Bench()) as bench:
        profiles = {opcode: bench.profile(opcode) for opcode in (_READ, _WRITE)}
    rows: dict[str, Callable[[int], float | None]] = {
        "codec": lambda opcode: profiles[opcode].codec,
        "store, codec included": lambda opcode: profiles[opcode].store,
        "transfer": lambda opcode: profiles[opcode].transfer,
        "request": lambda opcode: profiles[opcode].request,
        "floor: codec and transfer": lambda opcode: profiles[opcode].floor,
        "the C server that only copies": copying.get,
    }
    shown = Table("us of a 4 KiB request", "READ", "WRITE")
    for title, of in rows.items():
        values = (of(opcode) for opcode in (_READ, _WRITE))
        shown.add_row(title, *("" if us is None else f"{us:.2f}" for us in values))
    Console().print(shown)
    return 0
