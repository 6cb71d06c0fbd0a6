"""Whoever asks is answered soon, however many requests stream; idle means idle."""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import Report
from tests.integration import teardown
from tests.integration.commands import running
from tests.integration.corpus import text
from tests.integration.files import DISCARD, aligned, fallocate, opened
from tests.integration.mounts import MIB, Mount, MountFactory

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse", "fio"),
    pytest.mark.paths("always"),
    pytest.mark.timeout(60),
]

_FIO: Final = (
    *("fio", "--name=stream", "--ioengine=libaio", "--direct=1", "--iodepth=16"),
    *("--rw=randrw", "--bs=4k", "--size=64M", "--time_based", "--runtime=40"),
    *("--norandommap", "--buffer_compress_percentage=60", "--fallocate=none"),
    *("--allow_file_create=0", "--thread"),
)
"""Keeps 16 requests of a page in flight for longer than any test here takes."""


def _nr_requests(mount: Mount) -> int:
    counters = mount.rw_page_stat()
    names = ("lane_reads", "lane_writes", "bio_reads", "bio_writes")
    return sum(counters[name] for name in names)


@contextmanager
def _streaming(mount: Mount) -> Iterator[None]:
    """Stream requests to the first 64 MiB all the while."""
    with running(*_FIO, f"--filename={mount.swapfile}") as fio:
        assert teardown.wait_until(lambda: _nr_requests(mount) > 2000)
        yield
        assert fio.poll() is None, "the stream ended too early"


def _timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


@pytest.mark.parametrize("mode", ["always", "no_wb", "off"])
def test_control_files_answer_under_load(
    mounted: MountFactory, report: Report, mode: str
) -> None:
    with mounted("--disksize", "64M") as mount:
        mount.store("zramfs/rw_page", mode)
        with _streaming(mount):
            before = _nr_requests(mount)
            times = [_timed(mount.mm_stat) for _ in range(101)]
            nr_requests = _nr_requests(mount) - before

    median = statistics.median(times)
    report(
        f"cat mm_stat under randrw at depth 16, rw_page {mode}: median "
        f"{median * 1000:.1f} ms, worst {max(times) * 1000:.1f} ms of 101, "
        f"{nr_requests / sum(times) / 1000:.0f}k requests a second beside it"
    )
    assert median <= 0.05


def test_tasks_go_on_while_requests_stream(
    mounted: MountFactory, report: Report
) -> None:
    """A large discard, and a compaction: each is a task of many steps."""
    behind = 64 * MIB  # where the stream does not come

    with mounted("--disksize", "192M") as mount, opened(mount.swapfile) as fd:
        for offset in range(behind, 192 * MIB, MIB):
            os.pwrite(fd, aligned(text(MIB)), offset)
        with _streaming(mount):
            before = _nr_requests(mount)
            discard_s = _timed(lambda: fallocate(fd, DISCARD, behind, 127 * MIB))
            compact_s = _timed(lambda: mount.store("compact", "1"))
            nr_requests = _nr_requests(mount) - before
            freed = os.pread(fd, MIB, behind)

    report(
        f"under the same load: discard of 127 MiB {discard_s * 1000:.0f} ms, compact "
        f"{compact_s * 1000:.0f} ms, {nr_requests} requests answered meanwhile"
    )
    assert freed == bytes(MIB)
    assert nr_requests > 0
    assert discard_s + compact_s <= 10


IDLE_S: Final = 10.0


def _ticks(pid: int) -> int:
    """Return utime + stime of a process, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


def _cpu_ns(pid: int) -> int:
    """Return the time on a CPU of all its threads, which is finer than ticks."""
    stats = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(stat.read_text().split()[0]) for stat in stats)


def test_an_idle_daemon_uses_no_cpu(mounted: MountFactory, report: Report) -> None:
    """Less than 0.1 %, after traffic: a tick is 10 ms, and one is allowed."""
    with mounted("--disksize", "64M") as mount:
        with _streaming(mount):
            pass
        mount.store("compact", "1")
        pid = mount.pid
        before, before_ns = _ticks(pid), _cpu_ns(pid)
        time.sleep(IDLE_S)
        used, used_ns = _ticks(pid) - before, _cpu_ns(pid) - before_ns

    report(
        f"an idle daemon, in {IDLE_S:.0f} s: "
        f"{used} ticks, {used_ns / 1e6:.1f} ms on a CPU"
    )
    assert used <= 1
