"""zramfs.mount.spill_io: transfers by the kernel and by threads, ended in one place."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from zramfs.core.header import Header
from zramfs.errors import ShortTransfer
from zramfs.mount import spill_io
from zramfs.mount.aio import Aio
from zramfs.mount.spill_io import (
    READ_BYTES,
    Failure,
    SpillIo,
    Transfer,
    make_buffers,
)
from zramfs.seal import make_sealer
from zramfs.spill import Spill, open_spill
from zramfs.units import PAGE_SIZE

NR_BLOCKS = 256

Read = tuple[bytes, Failure]


@pytest.fixture
def data() -> bytes:
    return b"".join(bytes([block]) * PAGE_SIZE for block in range(NR_BLOCKS))


@pytest.fixture
def spill(tmp_path: Path, data: bytes) -> Iterator[Spill]:
    path = tmp_path / "spill"
    sealer = make_sealer(None, Header())
    fd = open_spill(str(path), NR_BLOCKS * PAGE_SIZE)
    spill = Spill(fd, str(path), sealer)
    path.write_bytes(data)
    yield spill
    assert not spill._nr_holds
    spill.close()


@pytest.fixture(params=[8, 0], ids=["kernel", "threads"])
def io(request: pytest.FixtureRequest) -> Iterator[SpillIo]:
    """Transfers by the kernel, but for more than 8, and by threads."""
    io = SpillIo(request.param)
    yield io
    assert not io.nr_in_flight
    io.close()


async def settle(io: SpillIo) -> None:
    """Run until all transfers have ended."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(io.run)
        with trio.fail_after(10):
            while io.nr_in_flight:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


def read_all(io: SpillIo, spill: Spill, *reads: tuple[int, int]) -> list[Read]:
    """Return what comes of *reads*, blocks and how many, in their order."""
    found: dict[int, Read] = {}

    def keep(number: int) -> Callable[[memoryview, Failure], None]:
        def end_io(view: memoryview, failure: Failure) -> None:
            assert number not in found
            found[number] = bytes(view), failure

        return end_io

    for number, (block, nr_pages) in enumerate(reads):
        io.read(spill, block, nr_pages, keep(number))
    trio.run(settle, io)
    return [found[number] for number in range(len(reads))]


def test_reads_come_back_right(io: SpillIo, spill: Spill, data: bytes) -> None:
    runs = [(0, 1), (255, 1), (17, 3), (100, READ_BYTES // PAGE_SIZE)]

    found = read_all(io, spill, *runs)

    for (block, nr_pages), (page, failure) in zip(runs, found, strict=True):
        assert failure is None
        assert page == data[block * PAGE_SIZE : (block + nr_pages) * PAGE_SIZE]


def test_more_reads_than_buffers_wait_for_one(
    io: SpillIo, spill: Spill, data: bytes
) -> None:
    blocks = [(block * 7 % NR_BLOCKS, 1) for block in range(600)]

    found = read_all(io, spill, *blocks)

    assert all(
        page == data[block * PAGE_SIZE :][:PAGE_SIZE] and failure is None
        for (block, _), (page, failure) in zip(blocks, found, strict=True)
    )
    assert len(io._buffers) == spill_io._NR_READS


def test_a_write_is_there_when_it_has_ended(io: SpillIo, spill: Spill) -> None:
    [buffer] = make_buffers(1, 4 * PAGE_SIZE)
    buffer.view[:] = b"new!" * PAGE_SIZE
    ended: list[Failure] = []

    def end_io(_view: memoryview, failure: Failure) -> None:
        ended.append(failure)

    io.start(Transfer(spill, 9, buffer.view, buffer.address, end_io, writes=True))
    trio.run(settle, io)

    assert ended == [None]
    [(found, _)] = read_all(io, spill, (9, 4))
    assert found == buffer.view


def test_what_was_cut_off_is_short(io: SpillIo, spill: Spill) -> None:
    os.truncate(spill.path, 100 * PAGE_SIZE)

    found = read_all(io, spill, (99, 1), (99, 2), (100, 1), (200, 4))

    assert found[0][1] is None
    assert [type(failure) for _, failure in found[1:]] == [ShortTransfer] * 3
    assert f"{spill.path} ends after 4096 bytes" in str(found[1][1])


def test_an_error_is_that_of_the_transfer(io: SpillIo, spill: Spill) -> None:
    descriptor = os.open("/dev/full", os.O_RDWR)
    full = Spill(descriptor, "/dev/full", spill.sealer)
    [buffer] = make_buffers(1, PAGE_SIZE)
    ended: list[Failure] = []

    def end_io(_view: memoryview, failure: Failure) -> None:
        ended.append(failure)

    io.start(Transfer(full, 0, buffer.view, buffer.address, end_io, writes=True))
    trio.run(settle, io)
    full.close()

    [failure] = ended
    assert isinstance(failure, OSError)
    assert failure.errno == errno.ENOSPC


def test_a_device_that_may_not_be_written_answers_eio(
    io: SpillIo, spill: Spill, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_named: object) -> int:
        raise PermissionError(errno.EPERM, "a read-only block device")

    monkeypatch.setattr(os, "pwritev", refuse)
    monkeypatch.setattr(Aio, "prepare", lambda *_args, **_named: None)
    [buffer] = make_buffers(1, PAGE_SIZE)
    ended: list[Failure] = []

    def end_io(_view: memoryview, failure: Failure) -> None:
        ended.append(failure)

    io.start(Transfer(spill, 0, buffer.view, buffer.address, end_io, writes=True))
    trio.run(settle, io)

    [failure] = ended
    assert isinstance(failure, OSError)
    assert failure.errno == errno.EIO


def test_what_is_plugged_begins_together(spill: Spill, data: bytes) -> None:
    io = SpillIo(8)
    found: list[int] = []
    io.plug()
    for block in range(4):
        io.read(spill, block, 1, lambda view, _failure: found.append(view[0]))
    while not io.reap():  # the first did not wait
        pass
    assert found == [0]
    assert not io.reap()

    io.unplug()
    trio.run(settle, io)

    assert sorted(found) == [data[block * PAGE_SIZE] for block in range(4)]


def test_what_the_kernel_refuses_holds_up_nothing_begun_with_it(
    spill: Spill, data: bytes
) -> None:
    io = SpillIo(8)
    fd = os.open(spill.path, os.O_WRONLY | os.O_DIRECT)
    unread = Spill(fd, spill.path, spill.sealer)
    found: dict[int, Read] = {}

    def keep(number: int) -> Callable[[memoryview, Failure], None]:
        return lambda view, failure: found.update({number: (bytes(view), failure)})

    io.plug()
    for number, source in enumerate((spill, unread, spill, unread, unread, spill)):
        io.read(source, number, 1, keep(number))
    io.unplug()
    trio.run(settle, io)
    unread.close()
    io.close()

    for number in (0, 2, 5):
        assert found[number] == (data[number * PAGE_SIZE :][:PAGE_SIZE], None)
    failures = [found[number][1] for number in (1, 3, 4)]
    assert [getattr(failure, "errno", 0) for failure in failures] == [errno.EIO] * 3
    assert io._aio
    assert len(io._aio._free) == 8


@pytest.mark.parametrize("result", [-errno.EAGAIN, -errno.EOPNOTSUPP, 0, 512])
def test_what_the_kernel_does_not_do_whole_a_thread_does(
    spill: Spill, data: bytes, monkeypatch: pytest.MonkeyPatch, result: int
) -> None:
    io = SpillIo(8)
    reap = Aio.reap

    def reap_little(aio: Aio[Transfer]) -> list[tuple[Transfer, int]]:
        return [(transfer, result) for transfer, _ in reap(aio)]

    monkeypatch.setattr(Aio, "reap", reap_little)

    [(page, failure)] = read_all(io, spill, (3, 1))

    assert failure is None
    assert page == data[3 * PAGE_SIZE : 4 * PAGE_SIZE]
    assert io._nr_threads == 1
    io.close()


def test_an_error_of_the_kernels_is_not_tried_again(
    spill: Spill, monkeypatch: pytest.MonkeyPatch
) -> None:
    io = SpillIo(8)
    reap = Aio.reap
    monkeypatch.setattr(
        Aio, "reap", lambda aio: [(key, -errno.EIO) for key, _ in reap(aio)]
    )

    [(_, failure)] = read_all(io, spill, (3, 1))

    assert isinstance(failure, OSError)
    assert failure.errno == errno.EIO
    assert not io._nr_threads


def test_without_asynchronous_io_threads_do_it(
    spill: Spill, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(errno.ENOSYS, "no such system call")

    monkeypatch.setattr(Aio, "__init__", refuse)
    io = SpillIo()

    [(page, failure)] = read_all(io, spill, (3, 1))

    assert (page, failure) == (data[3 * PAGE_SIZE : 4 * PAGE_SIZE], None)
    io.close()


def test_a_thread_that_hangs_holds_up_nothing_else(
    spill: Spill, monkeypatch: pytest.MonkeyPatch
) -> None:
    io = SpillIo(0)
    may_go_on = threading.Event()
    preadv = os.preadv

    def hang(fd: int, buffers: list[memoryview], offset: int) -> int:
        if not offset:
            assert may_go_on.wait(10)
        return preadv(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", hang)
    ended: list[int] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(io.run)
            for block in range(5):
                io.read(spill, block, 1, lambda view, _failure: ended.append(view[0]))
            while len(ended) < 4:
                await trio.lowlevel.checkpoint()
            assert sorted(ended) == [1, 2, 3, 4]
            may_go_on.set()
            while io.nr_in_flight:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    trio.run(main)

    assert ended[-1] == 0
    io.close()


def test_whoever_fails_at_the_end_of_a_transfer_fails_alone(
    io: SpillIo, spill: Spill, announced: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    announced.append("the end of a transfer")
    ended: list[int] = []

    def fail(_view: memoryview, _failure: Failure) -> None:
        raise ZeroDivisionError

    io.read(spill, 5, 1, fail)
    io.read(spill, 6, 1, lambda view, _failure: ended.append(view[0]))
    trio.run(settle, io)

    assert ended == [6]
    assert "the end of a transfer of block 5" in caplog.messages
    assert len(io._buffers) == spill_io._NR_READS


def test_nothing_is_awake_when_nothing_is_under_way(io: SpillIo, spill: Spill) -> None:
    read_all(io, spill, (0, 1))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(io.run)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    trio.run(main)

    assert not io.reap()


def test_a_transfer_keeps_the_descriptor(io: SpillIo, spill: Spill) -> None:
    other = Spill(os.dup(spill.fd), spill.path, spill.sealer)
    found: list[Failure] = []

    io.read(other, 0, 1, lambda _, failure: found.append(failure))
    other.close()

    os.fstat(other.fd)
    trio.run(settle, io)

    assert found == [None]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(other.fd)


def refuse_to_start(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_what_no_thread_is_to_be_had_for_has_failed(
    spill: Spill, monkeypatch: pytest.MonkeyPatch
) -> None:
    io = SpillIo(0)
    monkeypatch.setattr(threading.Thread, "start", refuse_to_start)

    found = read_all(io, spill, (3, 1), (4, 1))

    errors = [getattr(failure, "errno", None) for _, failure in found]
    assert errors == [errno.EAGAIN, errno.EAGAIN]
    assert len(io._buffers) == spill_io._NR_READS


def test_the_threads_that_there_are_do_what_others_were_to(
    spill: Spill, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    io = SpillIo(0)
    read_all(io, spill, (0, 1))
    monkeypatch.setattr(threading.Thread, "start", refuse_to_start)

    found = read_all(io, spill, *((block, 1) for block in range(40)))

    assert [page for page, _ in found] == [
        data[block * PAGE_SIZE :][:PAGE_SIZE] for block in range(40)
    ]
    assert io._nr_threads == 1
    io.close()


def test_a_read_that_waits_for_a_buffer_keeps_the_descriptor(
    io: SpillIo, spill: Spill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill_io, "_NR_READS", 1)
    other = Spill(os.dup(spill.fd), spill.path, spill.sealer)
    found: list[Failure] = []

    io.read(spill, 0, 1, lambda _, failure: found.append(failure))
    io.read(other, 1, 1, lambda _, failure: found.append(failure))
    other.close()

    os.fstat(other.fd)
    trio.run(settle, io)
    assert found == [None, None]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(other.fd)
