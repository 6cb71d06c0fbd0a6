"""Requests of every kind: at any offset, large, many at once, on the same page."""

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from tests.conftest import LoopFactory
from tests.integration.commands import run
from tests.integration.corpus import noise
from tests.integration.files import aligned, opened
from tests.integration.mounts import MIB, PAGE_SIZE, MountFactory
from tests.pages import make_page

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
    pytest.mark.timeout(60),
]

STEP: Final = 61
"""Odd, so that all ways to lie in a word and in a sector come up."""

OFFSETS: Final = (*range(0, PAGE_SIZE, STEP), PAGE_SIZE - 1, PAGE_SIZE)


def _lengths(offset: int) -> Iterator[int]:
    """Yield one to three pages, and what ends with one of these."""
    for end in (PAGE_SIZE, 2 * PAGE_SIZE, 3 * PAGE_SIZE):
        yield from (end, end - offset % PAGE_SIZE, end - 1)


@pytest.mark.parametrize("buffer", [aligned, bytes], ids=["aligned", "anywhere"])
def test_any_offset_and_length_reads_back(
    mounted: MountFactory, buffer: Callable[[bytes], bytes]
) -> None:
    """Each write goes to a window of its own pages, and is read with what is around."""
    window = 5 * PAGE_SIZE
    model = bytearray(noise(window))
    wrong = []

    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        os.pwrite(fd, aligned(bytes(model)), 0)
        for seed, offset in enumerate(OFFSETS):
            for length in _lengths(offset):
                data = noise(length, seed + length)
                written = os.pwrite(fd, buffer(data), offset)
                model[offset : offset + length] = data
                back = os.pread(fd, length, offset)
                is_right = written == length and back == data
                if not is_right or os.pread(fd, window, 0) != model:
                    wrong.append((offset, length))
        failed = mount.io_stat()

    assert wrong == []
    assert failed == (0, 0, 0, 0)


def test_requests_of_a_mebibyte(mounted: MountFactory) -> None:
    data = noise(8 * MIB)
    places = list(range(0, 8 * MIB, MIB))
    random.Random(0).shuffle(places)
    back = aligned(bytes(8 * MIB))

    with mounted("--disksize", "8M") as mount, opened(mount.swapfile) as fd:
        for place in places:
            os.pwrite(fd, aligned(data[place : place + MIB]), place)
        for place in places:
            os.preadv(fd, [memoryview(back)[place : place + MIB]], place)
        counted = mount.show("stat").split()
        failed = mount.io_stat()

    assert back[:] == data
    assert failed == (0, 0, 0, 0)
    # Reads and writes, in the block layer's stat: none came in two pieces.
    assert (counted[0], counted[4]) == ("8", "8")


_FIO: Final = (
    *("fio", "--name=deep", "--output-format=terse", "--ioengine=libaio", "--direct=1"),
    *("--iodepth=64", "--rw=randwrite", "--size=32M", "--verify=crc32c"),
    *(
        "--verify_fatal=1",
        "--verify_state_save=0",
        "--fallocate=none",
        "--allow_file_create=0",
    ),
    *("--randseed=20220908", "--refill_buffers=1", "--buffer_compress_percentage=60"),
)
"""Keeps 64 requests in flight, and reads all back."""


@pytest.mark.requires("fio")
def test_64_requests_in_flight(mounted: MountFactory) -> None:
    with mounted("--disksize", "32M") as mount:
        run(*_FIO, f"--filename={mount.swapfile}", "--bsrange=4k-1M")
        failed = mount.io_stat()

    assert failed == (0, 0, 0, 0)


@pytest.mark.requires("root", "loop", "fio")
def test_64_requests_in_flight_through_a_loop_device(
    mounted: MountFactory, loop: LoopFactory
) -> None:
    with mounted("--disksize", "32M") as mount:
        with loop(mount.swapfile) as device:
            run(*_FIO, f"--filename={device}", "--bs=4k")
        failed = mount.io_stat()

    assert failed == (0, 0, 0, 0)


NR_PAGES: Final = 4

ROUNDS: Final = 1000

VERSIONS: Final = [
    make_page(kind, number)
    for number, kind in enumerate(
        ["zero", "same:1", "same:2", "text", "text", "half", "half", "rand", "rand"]
    )
]
"""What is written over and over, whole: pages kept in every way."""


def _write_versions(fd: int, seed: int) -> None:
    numbers = random.Random(seed)
    for _ in range(ROUNDS):
        first = numbers.randrange(NR_PAGES)
        count = numbers.randint(1, NR_PAGES - first)
        pages = numbers.choices(VERSIONS, k=count)
        os.pwrite(fd, aligned(b"".join(pages)), first * PAGE_SIZE)


def _torn(fd: int, seed: int) -> list[int]:
    """Read at random, and return where a page was of no one version."""
    numbers = random.Random(seed)
    torn = []
    for _ in range(ROUNDS):
        start = numbers.choice([0, 100]) + numbers.randrange(NR_PAGES) * PAGE_SIZE
        data = os.pread(fd, numbers.randint(1, NR_PAGES) * PAGE_SIZE, start)
        end = start + len(data)
        while start < end:
            within = start % PAGE_SIZE
            piece = data[start - end :][: PAGE_SIZE - within]
            if not any(version.startswith(piece, within) for version in VERSIONS):
                torn.append(start)
            start += len(piece)
    return torn


def test_a_page_is_read_whole_while_it_is_written(mounted: MountFactory) -> None:
    with (
        mounted("--disksize", str(NR_PAGES * PAGE_SIZE)) as mount,
        opened(mount.swapfile) as fd,
        ThreadPoolExecutor(4) as threads,
    ):
        writers = [threads.submit(_write_versions, fd, seed) for seed in range(2)]
        readers = [threads.submit(_torn, fd, seed) for seed in range(2, 4)]
        torn = [reader.result() for reader in readers]
        for writer in writers:
            writer.result()
        failed = mount.io_stat()

    assert torn == [[], []]
    assert failed == (0, 0, 0, 0)
