"""The recompression row: `recompress` against a bare loop, while pages are read.

A device is filled with lz4 pages of system files; then all are recompressed with
zstd. Meanwhile somebody reads 4 KiB now and then, and each read is timed. The loop
is over the same pages with the same library, on the same machine, one after the
other with the recompression.
"""

import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import zstandard

from benchmarks.results import Results
from benchmarks.rows import RECOMPRESS_P99, RECOMPRESS_RATIO, RECOMPRESS_SPEED
from benchmarks.sides import zramfs
from tests.integration.corpus import system_files

SIDE: Final = "always"

_PAGE_SIZE: Final = 4096

_PIECE: Final = 1 << 20

_PAUSE_S: Final = 0.001
"""Between two reads: a reader that never rested would measure how the processors are
shared, not how long a recompression keeps a read waiting."""


def measure(place: Path, size: int, rounds: int, results: Results) -> Iterator[None]:
    """Measure *rounds* times, a step each, and add what was found."""
    data = system_files(size)
    with zramfs(place, size, data_path="lane") as swapfile:
        mountpoint = swapfile.parent
        (mountpoint / "reset").write_text("1")
        (mountpoint / "recomp_algorithm").write_text("algo=zstd")
        (mountpoint / "disksize").write_text(str(size))
        for number in range(rounds):
            _fill(swapfile, data)
            with _reads(swapfile, size, number) as times:
                ours = _seconds(lambda: _recompress(mountpoint))
            loop = _seconds(lambda: _loop(data))
            results.add(RECOMPRESS_RATIO.name, SIDE, loop / ours)
            results.add(RECOMPRESS_SPEED.name, SIDE, size / ours)
            results.add(RECOMPRESS_P99.name, SIDE, _percentile(times, 0.99))
            yield


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _fill(swapfile: Path, data: bytes) -> None:
    view = memoryview(data)
    with swapfile.open("r+b", buffering=0) as file:
        for start in range(0, len(data), _PIECE):
            file.write(view[start : start + _PIECE])


def _recompress(mountpoint: Path) -> None:
    # One write(2), which returns when all is done.
    with (mountpoint / "recompress").open("wb", buffering=0) as file:
        file.write(b"priority=1")


def _loop(data: bytes) -> None:
    compressor = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(
            3, source_size=_PAGE_SIZE
        )
    )
    view = memoryview(data)
    for start in range(0, len(data), _PAGE_SIZE):
        compressor.compress(view[start : start + _PAGE_SIZE])


@contextmanager
def _reads(swapfile: Path, size: int, seed: int) -> Iterator[list[float]]:
    """Read pages at random; yield the list of how long each read took, in seconds."""
    times: list[float] = []
    ended = threading.Event()

    def read() -> None:
        pages = np.random.default_rng(seed)
        buffer = mmap.mmap(-1, _PAGE_SIZE)
        fd = os.open(swapfile, os.O_RDONLY)
        try:
            while not ended.wait(_PAUSE_S):
                offset = int(pages.integers(size // _PAGE_SIZE)) * _PAGE_SIZE
                times.append(_seconds(partial(os.preadv, fd, [buffer], offset)))
        finally:
            os.close(fd)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield times
    finally:
        ended.set()
        reader.join()


def _percentile(times: list[float], part: float) -> float:
    """Return the time that *part* of *times* are not longer than."""
    return sorted(times)[int(len(times) * part)]
