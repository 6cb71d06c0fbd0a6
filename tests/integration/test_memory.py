"""Memory is really saved: the daemon's own, not just a counter's."""

import os
import random
import statistics
import time
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import Report
from tests.integration.corpus import system_files
from tests.integration.kernel_zram import kernel_zram
from tests.integration.mounts import MIB, PAGE_SIZE, Mount, MountFactory, settled
from tests.integration.stats import MmStat

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
    pytest.mark.timeout(180),
]

CORPUS_BYTES: Final = 256 * MIB
NR_PAGES: Final = CORPUS_BYTES // PAGE_SIZE

HEADER: Final = 16 * PAGE_SIZE
"""What the header in front of all takes, its copies of the configuration included."""


@pytest.fixture(scope="module")
def corpus() -> bytes:
    """256 MiB of files of this system."""
    return system_files(CORPUS_BYTES)


def _write(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        for offset in range(0, len(data), MIB):
            os.pwrite(fd, data[offset : offset + MIB], offset)
        os.fsync(fd)
    finally:
        os.close(fd)


def _overwrite(mount: Mount, corpus: bytes, pieces: list[int], piece: int) -> None:
    """Write all the corpus in random order: to each piece what is at pieces[i]."""
    places = list(range(len(pieces)))
    random.Random(0).shuffle(places)
    view = memoryview(corpus)
    fd = os.open(mount.swapfile, os.O_WRONLY)
    try:
        for place in places:
            start = pieces[place] * piece
            os.pwrite(fd, view[start : start + piece], place * piece)
    finally:
        os.close(fd)


def _mib(size: int) -> str:
    return f"{size / MIB:.1f} MiB"


def test_the_daemon_grows_by_what_is_stored_and_no_more(
    mounted: MountFactory, corpus: bytes, report: Report
) -> None:
    with mounted("--disksize", "512M") as mount:
        before = mount.rss()
        _write(mount.swapfile, corpus)
        grown = mount.rss() - before
        memory = mount.mm_stat()
        held = mount.memfd_bytes()

    report(
        f"256 MiB stored: compr_data_size {_mib(memory.compr_data_size)}, "
        f"mem_used_total {_mib(memory.mem_used_total)}, "
        f"resident set +{_mib(grown)}, memfd {_mib(held)}"
    )
    assert memory.orig_data_size == CORPUS_BYTES
    assert memory.mem_used_total <= 1.02 * memory.compr_data_size
    assert grown <= 1.05 * memory.compr_data_size + 24 * MIB
    # The memfd holds the slot table, too: 20 bytes for each of the pages.
    assert 0 <= held - memory.mem_used_total <= 4 * MIB


def _kernel_mm_stat(corpus: bytes) -> MmStat:
    with kernel_zram("512M") as zram:
        _write(zram.device, corpus)
        return zram.mm_stat()


@pytest.mark.requires("kernel-zram")
def test_the_pool_is_no_larger_than_the_kernels(
    mounted: MountFactory, corpus: bytes, report: Report
) -> None:
    kernel = _kernel_mm_stat(corpus)
    with mounted("--disksize", "512M") as mount:
        _write(mount.swapfile, corpus)
        ours = mount.mm_stat()

    report(
        f"mem_used_total of the same 256 MiB: zramfs {_mib(ours.mem_used_total)}, "
        f"kernel zram {_mib(kernel.mem_used_total)} "
        f"(compr_data_size {_mib(ours.compr_data_size)}, "
        f"{_mib(kernel.compr_data_size)})"
    )
    assert ours.orig_data_size == kernel.orig_data_size
    assert ours.mem_used_total <= kernel.mem_used_total


def test_overwriting_in_random_order_does_not_grow_it(
    mounted: MountFactory, corpus: bytes, report: Report
) -> None:
    piece = 4 * PAGE_SIZE

    with mounted("--disksize", "256M") as mount:
        _write(mount.swapfile, corpus)
        first = mount.rss(), mount.mm_stat().mem_used_total
        for _ in range(5):
            _overwrite(mount, corpus, list(range(CORPUS_BYTES // piece)), piece)
        last = mount.rss(), mount.mm_stat().mem_used_total

    report(
        f"overwritten five times: resident set {_mib(first[0])} -> {_mib(last[0])}, "
        f"mem_used_total {_mib(first[1])} -> {_mib(last[1])}"
    )
    assert last[0] <= 1.02 * first[0]
    assert last[1] <= 1.02 * first[1]


def test_moving_data_about_does_not_grow_it(
    mounted: MountFactory, corpus: bytes, report: Report
) -> None:
    moved = list(range(NR_PAGES))
    most = 1.03

    with mounted("--disksize", "256M") as mount:
        _write(mount.swapfile, corpus)
        first = mount.mm_stat().mem_used_total
        for seed in range(5):
            random.Random(seed).shuffle(moved)
            _overwrite(mount, corpus, moved, PAGE_SIZE)
        moved_about = mount.mm_stat().mem_used_total
        last = settled(lambda: mount.mm_stat().mem_used_total, most * first)
        mount.store("compact", "1")
        compact = mount.mm_stat().mem_used_total

    report(
        f"every page moved five times: mem_used_total {_mib(first)} -> "
        f"{_mib(moved_about)} -> {_mib(last)} by itself, {_mib(compact)} compacted"
    )
    assert last <= most * first
    assert compact <= 1.01 * first


def test_compact_gives_freed_memory_back(
    mounted: MountFactory, corpus: bytes, report: Report
) -> None:
    kept = set(random.Random(20220908).sample(range(NR_PAGES), NR_PAGES // 4))
    zeros = bytes(PAGE_SIZE)

    with mounted("--disksize", "256M") as mount:
        empty = mount.rss()
        _write(mount.swapfile, corpus)
        full_rss, full = mount.rss(), mount.mm_stat()
        fd = os.open(mount.swapfile, os.O_RDWR)
        # Zeros take no memory, so this frees what was there; a discard would, too.
        for index in range(NR_PAGES):
            if index not in kept:
                os.pwrite(fd, zeros, index * PAGE_SIZE)
        holey_rss, holey = mount.rss(), mount.mm_stat()
        mount.store("compact", "1")
        compact_rss, compact = mount.rss(), mount.mm_stat()
        back = {
            index
            for index in kept
            if os.pread(fd, PAGE_SIZE, index * PAGE_SIZE)
            == corpus[index * PAGE_SIZE : (index + 1) * PAGE_SIZE]
        }
        os.close(fd)

    freed = full.compr_data_size - compact.compr_data_size
    report(
        f"three quarters freed: {_mib(freed)}; resident set {_mib(full_rss)} -> "
        f"{_mib(holey_rss)} -> {_mib(compact_rss)} compacted (empty: {_mib(empty)}), "
        f"mem_used_total {_mib(full.mem_used_total)} -> {_mib(holey.mem_used_total)} "
        f"-> {_mib(compact.mem_used_total)}"
    )
    assert back == kept
    assert full.mem_used_total - compact.mem_used_total >= 0.95 * freed
    assert full_rss - compact_rss >= 0.95 * freed
    assert compact.pages_compacted > 0


def _mount_cost(mounted: MountFactory, disksize: str) -> tuple[float, int]:
    """Return the time that mounting takes, and the resident set then."""
    before = time.perf_counter()
    with mounted("--disksize", disksize) as mount:
        return time.perf_counter() - before, mount.rss()


def test_a_large_disksize_costs_what_a_small_one_does(
    mounted: MountFactory, report: Report
) -> None:
    small = [_mount_cost(mounted, "64M") for _ in range(5)]
    large = [_mount_cost(mounted, "64G") for _ in range(5)]

    times = [statistics.median(cost[0] for cost in costs) for costs in (small, large)]
    sizes = [statistics.median(cost[1] for cost in costs) for costs in (small, large)]
    report(
        f"mounting 64 MiB: {times[0]:.2f} s, {_mib(int(sizes[0]))}; "
        f"64 GiB: {times[1]:.2f} s, {_mib(int(sizes[1]))} (medians of 5)"
    )
    assert times[1] <= 1.5 * times[0]
    assert sizes[1] <= 1.1 * sizes[0]


def test_reset_gives_everything_back(
    mounted: MountFactory, corpus: bytes, report: Report
) -> None:
    with mounted("--disksize", "512M") as mount:
        empty = mount.rss()
        _write(mount.swapfile, corpus)
        mount.store("reset", "1")
        after = mount.rss()
        held = mount.memfd_bytes()

    report(f"resident set after reset: {_mib(after)}, before: {_mib(empty)}")
    assert held <= HEADER
    assert after <= empty + 24 * MIB
