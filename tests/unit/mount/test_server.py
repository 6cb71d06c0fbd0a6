"""zramfs.mount.server: a whole server, asked over the wire, without a mount.

libfuse takes the descriptor of a socket for that of /dev/fuse as well as it takes
one for a mount: what is asked here is what a kernel would ask.
"""

import errno
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyfuse3
import pytest
import trio

from tests.unit.mount import wires
from tests.unit.mount.rig import DevFuse, drain, pair
from tests.unit.mount.wires import Reply, parsed
from zramfs.core.attributes import ATTRIBUTES
from zramfs.core.block_layer import DIRECTORIES, block_layer_files
from zramfs.core.device import Device
from zramfs.errors import InvalidValue, ModeNotSupported
from zramfs.mount.config import Config
from zramfs.mount.reserve import Reserve
from zramfs.mount.safety import Safety
from zramfs.mount.server import Server, open_server, store_settings
from zramfs.mount.watchdog import FaultWatch

CONFIG = Config(
    mountpoint="/mnt/z",
    settings={},
    data_path="lane",
    foreground=True,
    log_file=None,
)
PATHS = pytest.mark.parametrize("path", ["lane", "pyfuse3"])

OPEN = 14
STATFS = 17
RELEASE = 18
OPENDIR = 27
MKDIR = 9
SETXATTR = 21
READDIRPLUS = 44
ENTRY_OUT_SIZE = 128

INIT_IN = struct.Struct("<IIIII44x")
"""major minor max_readahead flags flags2."""
CAPABLE = 1 | 1 << 5 | 1 << 13 | 1 << 14 | 1 << 22
"""FUSE_ASYNC_READ BIG_WRITES DO_READDIRPLUS READDIRPLUS_AUTO MAX_PAGES."""


@dataclass(slots=True)
class Kernel:
    """Whoever has mounted the server: asks one thing after the other."""

    end: socket.socket
    connection: socket.socket
    server: Server
    unique: int = 0
    answers: dict[int, Reply] = field(default_factory=dict)

    async def ask(self, opcode: int, body: bytes = b"", *, nodeid: int = 1) -> Reply:
        self.unique += 2
        self.end.send(wires.request(opcode, self.unique, body, nodeid=nodeid))
        return await self.answer(self.unique)

    async def send(self, message: bytes) -> Reply:
        self.end.send(message)
        (unique,) = struct.unpack_from("<Q", message, 8)
        return await self.answer(unique)

    async def answer(self, unique: int) -> Reply:
        with trio.fail_after(5):
            while unique not in self.answers:
                await trio.lowlevel.wait_readable(self.end)
                replies = [parsed(message) for message in drain(self.end)]
                self.answers |= {reply.unique: reply for reply in replies}
        return self.answers.pop(unique)

    async def init(self) -> Reply:
        body = INIT_IN.pack(7, 38, 1 << 17, CAPABLE, 0)
        return await self.ask(wires.INIT, body, nodeid=0)

    async def lookup(self, name: bytes, parent: int = 1) -> int:
        reply = await self.ask(wires.LOOKUP, name + b"\0", nodeid=parent)
        assert not reply.error
        (nodeid,) = struct.unpack_from("<Q", reply.body)
        return int(nodeid)

    async def open(self, nodeid: int, flags: int = os.O_RDWR) -> int:
        reply = await self.ask(OPEN, struct.pack("<II", flags, 0), nodeid=nodeid)
        assert not reply.error
        handle, _, _ = struct.unpack("<QIi", reply.body)
        return int(handle)

    async def read(self, name: bytes) -> bytes:
        """Read a control file as cat does."""
        nodeid = await self.lookup(name)
        handle = await self.open(nodeid, os.O_RDONLY)
        body = wires.READ_IN.pack(handle, 0, 4096, 0, 0, 0, 0)
        reply = await self.ask(wires.READ, body, nodeid=nodeid)
        assert not reply.error
        return reply.body

    async def write(self, name: bytes, data: bytes) -> Reply:
        """Write a control file as echo does."""
        nodeid = await self.lookup(name)
        handle = await self.open(nodeid, os.O_WRONLY)
        body = wires.WRITE_IN.pack(handle, 0, len(data), 0, 0, 0, 0)
        return await self.ask(wires.WRITE, body + data, nodeid=nodeid)


@contextmanager
def opened_kernel(device: Device, config: Config) -> Iterator[Kernel]:
    """Yield a kernel with a server for *device*."""
    end, connection = pair()
    with closing(end), closing(connection), ExitStack() as stack:
        # Plain pyfuse3 waits in the descriptor; a lane makes it non-blocking itself.
        connection.settimeout(None)
        safety = Safety(
            Path(config.mountpoint), faults=FaultWatch(), reserve=Reserve(lambda: 0)
        )
        server = open_server(stack, device, connection.fileno(), config, safety)
        yield Kernel(end, connection, server)


@asynccontextmanager
async def serving(kernel: Kernel) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kernel.server.serve)
        await kernel.init()
        yield
        nursery.cancel_scope.cancel()


@PATHS
def test_a_server_answers_the_first_request(device: Device, path: str) -> None:
    async def main(kernel: Kernel) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.server.serve)
            replies.append(await kernel.init())
            nursery.cancel_scope.cancel()

    replies: list[Reply] = []
    with opened_kernel(device, replace(CONFIG, data_path=path)) as kernel:
        trio.run(main, kernel)

    major, *_ = wires.INIT_OUT.unpack(replies[0].body)
    assert (replies[0].error, major) == (0, 7)


def test_the_lane_allows_many_requests_in_the_background(device: Device) -> None:
    async def main(kernel: Kernel) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.server.serve)
            reply = await kernel.init()
            fields.extend(wires.INIT_OUT.unpack(reply.body))
            nursery.cancel_scope.cancel()

    fields: list[int] = []
    with opened_kernel(device, CONFIG) as kernel:
        trio.run(main, kernel)

    _, _, _, _, max_background, threshold, max_write, *_ = fields
    assert (max_background, threshold) == (128, 96)
    assert max_write == 1 << 20


@PATHS
def test_pages_and_control_files_are_of_one_device(device: Device, path: str) -> None:
    async def main(kernel: Kernel) -> None:
        async with serving(kernel):
            assert await kernel.lookup(b"swapfile") == wires.SWAPFILE
            handle = await kernel.open(wires.SWAPFILE)
            assert handle == wires.SWAPFILE
            reply = await kernel.send(wires.write(1001, 0, b"x" * 4096))
            assert reply.body == wires.written(4096)
            reply = await kernel.send(wires.read(1003, 4090, 10))
            assert reply.body == b"xxxxxx\0\0\0\0"
            columns = (await kernel.read(b"mm_stat")).split()
            assert columns[0] == b"4096"
            assert device.openers == 1

    with opened_kernel(device, replace(CONFIG, data_path=path)) as kernel:
        trio.run(main, kernel)

    device.release()


@PATHS
def test_a_control_file_is_stored_to(bare: Device, path: str) -> None:
    async def main(kernel: Kernel) -> None:
        async with serving(kernel):
            assert (await kernel.write(b"disksize", b"1M\n")).body == wires.written(3)
            assert (await kernel.write(b"disksize", b"1M\n")).error == -errno.EBUSY
            assert await kernel.read(b"disksize") == b"1048576\n"

    with opened_kernel(bare, replace(CONFIG, data_path=path)) as kernel:
        trio.run(main, kernel)

    assert bare.disksize == 1 << 20


def test_a_directory_is_listed_over_the_wire(device: Device) -> None:
    async def main(kernel: Kernel) -> None:
        async with serving(kernel):
            reply = await kernel.ask(OPENDIR, bytes(8))
            (handle,) = struct.unpack_from("<Q", reply.body)
            offset = 0
            while True:
                body = wires.READ_IN.pack(handle, offset, 400, 0, 0, 0, 0)
                page = (await kernel.ask(READDIRPLUS, body)).body
                if not page:
                    return
                while page:
                    page = page[ENTRY_OUT_SIZE:]
                    _, offset, length, _ = struct.unpack_from("<QQII", page)
                    names.append(page[24 : 24 + length])
                    page = page[-(-(24 + length) // 8) * 8 :]

    names: list[bytes] = []
    with opened_kernel(device, CONFIG) as kernel:
        trio.run(main, kernel)

    block_layer = [
        row.name.partition("/")[0] for row in block_layer_files(lambda: None)
    ]
    shown = dict.fromkeys([*block_layer, *ATTRIBUTES, *DIRECTORIES])
    assert names == [b"swapfile", *map(str.encode, shown), b"zramfs"]


@pytest.mark.parametrize(("path", "error"), [("lane", 0), ("pyfuse3", -errno.ENOSYS)])
def test_statfs_is_answered_where_discards_arrive(
    device: Device, path: str, error: int
) -> None:
    async def main(kernel: Kernel) -> None:
        async with serving(kernel):
            assert (await kernel.ask(STATFS)).error == error

    with opened_kernel(device, replace(CONFIG, data_path=path)) as kernel:
        trio.run(main, kernel)


@pytest.mark.parametrize(
    ("opcode", "body", "error"),
    [
        (MKDIR, struct.pack("<II", 0o755, 0) + b"new\0", -errno.EPERM),
        (SETXATTR, struct.pack("<II", 1, 0) + b"user.x\0y", -errno.ENOSYS),
        (9999, b"", -errno.ENOSYS),
    ],
    ids=["MKDIR", "SETXATTR", "unknown"],
)
def test_what_there_is_not_is_refused(
    device: Device, opcode: int, body: bytes, error: int
) -> None:
    async def main(kernel: Kernel) -> None:
        async with serving(kernel):
            assert (await kernel.ask(opcode, body)).error == error

    with opened_kernel(device, CONFIG) as kernel:
        trio.run(main, kernel)


def test_the_lane_offers_what_its_settings_say(device: Device) -> None:
    async def main(kernel: Kernel) -> None:
        async with serving(kernel):
            directory = await kernel.lookup(b"zramfs")
            nodeid = await kernel.lookup(b"rw_page", directory)
            handle = await kernel.open(nodeid, os.O_RDONLY)
            body = wires.READ_IN.pack(handle, 0, 4096, 0, 0, 0, 0)
            texts.append((await kernel.ask(wires.READ, body, nodeid=nodeid)).body)

    texts: list[bytes] = []
    config = replace(CONFIG, settings={"rw_page": "no_wb", "disksize": "1G"})
    with opened_kernel(device, config) as kernel:
        trio.run(main, kernel)

    assert texts == [b"always [no_wb] off\n"]


def test_a_mode_that_the_data_path_has_not_is_refused(device: Device) -> None:
    config = replace(CONFIG, settings={"rw_page": "always"}, data_path="pyfuse3")

    with (
        pytest.raises(ModeNotSupported, match="no synchronous path"),
        opened_kernel(device, config),
    ):
        pass


def test_settings_are_stored_for_the_rows_that_are_given(bare: Device) -> None:
    rows = [ATTRIBUTES["mem_limit"], ATTRIBUTES["comp_algorithm"]]

    store_settings(bare, rows, {"mem_limit": "1M", "rw_page": "off", "disksize": "1"})

    assert (bare.mem_limit, bare.disksize) == (1 << 20, 0)


def test_a_bad_setting_is_refused(bare: Device) -> None:
    with pytest.raises(InvalidValue, match="no algorithm 'lzo'"):
        store_settings(bare, ATTRIBUTES.values(), {"comp_algorithm": "lzo"})


def test_a_server_ends_with_the_mount(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(kernel: Kernel) -> None:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kernel.server.serve)
                await kernel.init()
                dev_fuse = DevFuse(kernel.connection, kernel.end, monkeypatch)
                dev_fuse.read_errors = [errno.ENODEV]
                kernel.end.send(wires.read(1, 0, 1))

    with opened_kernel(device, CONFIG) as kernel:
        trio.run(main, kernel)


def test_a_server_ends_when_it_is_told_to(device: Device) -> None:
    async def main(kernel: Kernel) -> None:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kernel.server.serve)
                await kernel.init()
                pyfuse3.terminate()

    with opened_kernel(device, CONFIG) as kernel:
        trio.run(main, kernel)
