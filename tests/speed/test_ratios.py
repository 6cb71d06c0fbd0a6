"""Long work against bare loops over the same memory, taken in turns.

Medians of interleaved runs: what else the machine does meanwhile slows both down.
"""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import trio
import zstandard

from tests.conftest import Report
from tests.integration.corpus import system_files
from tests.speed.full_table import fill_table
from tests.unit.passes import opened, request, run
from tests.verify import opened_device
from zramfs.core import slots
from zramfs.core.device import Device
from zramfs.memory import MemFile
from zramfs.mount.bio import run_steps
from zramfs.units import PAGE_SIZE

MIB = 1 << 20
NR_SLOTS = 4 << 20
RECOMPRESSED = 256 * MIB
ROUNDS = 3
BOUND = 0.7

pytestmark = pytest.mark.timeout(120)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def medians(times: int, *works: Callable[[], object]) -> list[float]:
    """Return the median time of each of *works*, run in turns."""
    runs = [[seconds(work) for work in works] for _ in range(times)]
    return [statistics.median(column) for column in zip(*runs, strict=True)]


def test_idle_costs_no_more_than_ten_passes_over_the_table(report: Report) -> None:
    with opened_device() as device:
        device.tick(1000)
        device.set_disksize(NR_SLOTS * PAGE_SIZE)
        words = np.frombuffer(device.store.table.words, np.uint64)
        words[:] = 64  # as if there were an object in each

        no_wb = np.uint64(slots.NO_WB)
        marked, aged, plain = medians(
            7,
            lambda: run(device.mark_idle(None)),
            lambda: run(device.mark_idle(1)),
            partial(np.bitwise_or, words, no_wb, words),
        )
        report(
            f"idle over 4M slots: all {marked / plain:.1f}, by age {aged / plain:.1f} "
            f"of a NumPy pass over the table ({plain * 1e3:.1f} ms)"
        )
        words[:] = 0
        del words

    assert marked <= 10 * plain
    assert aged <= 10 * plain


def test_recovery_costs_no_more_than_twenty_passes_over_the_table(
    report: Report,
) -> None:
    memory = MemFile()
    device = Device(memory)
    fill_table(device, NR_SLOTS)
    words = np.frombuffer(device.store.table.words, np.uint64)

    recovery, plain = medians(
        11, lambda: Device(MemFile(memory.fd)), lambda: np.count_nonzero(words)
    )
    stored = Device(MemFile(memory.fd)).store.pages_stored
    os.close(memory.fd)

    report(
        f"recovery of 4M slots: {recovery * 1e3:.1f} ms, {recovery / plain:.1f} of a "
        f"NumPy pass over the table ({plain * 1e3:.1f} ms)"
    )
    assert stored == NR_SLOTS
    assert recovery <= 20 * plain


def fill(device: Device, pages: list[bytes]) -> None:
    for index, page in enumerate(pages):
        device.write(index * PAGE_SIZE, memoryview(page))


def recompressed(device: Device) -> float:
    """Return how long a recompression takes where all is served, too."""
    return seconds(lambda: trio.run(run_steps, device.recompress(request())))


def test_recompression_is_nearly_as_fast_as_the_library(report: Report) -> None:
    data = memoryview(system_files(RECOMPRESSED))
    pages = [
        bytes(data[start : start + PAGE_SIZE])
        for start in range(0, len(data), PAGE_SIZE)
    ]
    compressor = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(
            3, source_size=PAGE_SIZE
        )
    )
    with opened_device() as device:
        opened(device, "lz4", "zstd", nr_slots=len(pages))
        rounds = []
        for _ in range(ROUNDS):
            fill(device, pages)
            ours = recompressed(device)
            loop = seconds(lambda: [compressor.compress(page) for page in pages])
            call = seconds(
                lambda: compressor.multi_compress_to_buffer([*pages], threads=-1)
            )
            rounds.append((loop / ours, call / ours, ours))
        ratio, of_call, ours = map(statistics.median, zip(*rounds, strict=True))
    report(
        f"recompression of {RECOMPRESSED // MIB} MiB: {ratio:.2f} x a loop of "
        f"compress(), {of_call:.2f} x one multi_compress_to_buffer() "
        f"({RECOMPRESSED / MIB / ours:.0f} MiB/s)"
    )

    assert ratio >= BOUND
