"""``tools/bench --spill`` and ``--rw-page``: writing back, and what reading costs then.

The first measures written-back pages beside fio and dd on the same file. The second
is one swap-like workload under each mode of ``zramfs/rw_page``: pages are read and
now and then written by a Zipf distribution over all of them, half of them begin
written back, and idle ones are written back all the while.
"""

import argparse
import json
import mmap
import os
import random
import re
import shlex
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import accumulate
from pathlib import Path
from statistics import quantiles
from typing import Final

from rich.console import Console

from benchmarks import chart, fio, machine, table
from benchmarks.bounds import SPILL_BOUNDS
from benchmarks.commands import ZRAMFS, run
from benchmarks.results import Results
from benchmarks.rows import RwPageRow, SpillRow
from tests.integration import teardown
from tests.integration.commands import ROOT

_MIB: Final = 1 << 20
_PAGE: Final = 4096
_MODES: Final = ("always", "no_wb", "off")

_SKEW: Final = 1.1
"""Of the Zipf distribution: nine in ten accesses go to a tenth of the pages."""

_WRITES: Final = 0.1
"""Of the accesses: a page that is swapped in is changed now and then."""

_TURNS: Final = 3
"""How often in a round the sides are read in turn: a disk that is shared with others
is not as quick from one second to the next."""

_IDLE_S: Final = 1.0
"""How long a page may lie before it is written back."""


@contextmanager
def _mounted(spill_mib: int, disk_mib: int) -> Iterator[tuple[Path, Path]]:
    """Yield a mountpoint, and the file that it writes back to."""
    # In the tree: a filesystem in memory says nothing of a disk.
    with tempfile.TemporaryDirectory(prefix=".bench.", dir=ROOT) as name:
        place = Path(name)
        with ExitStack() as stack:
            stack.callback(teardown.take_down, place)
            mountpoint, spill = place / "mnt", place / "spill"
            mountpoint.mkdir()
            run("dd", "if=/dev/zero", f"of={spill}", "bs=1M", f"count={spill_mib}")
            run(
                *(*ZRAMFS, "mount", mountpoint, "--disksize", f"{disk_mib}M"),
                *("--backing-dev", spill, "--log-file", place / "log"),
                extra={teardown.MARK: str(place)},
            )
            yield mountpoint, spill


def _rss(mountpoint: Path) -> int:
    pid = (mountpoint / "zramfs/worker_pid").read_text().strip()
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(found[1]) << 10 if found else 0


def _dd(spill: Path, length: int) -> float:
    """Return the bytes a second that dd writes to *spill*."""
    start = time.perf_counter()
    run(
        *("dd", "if=/dev/zero", f"of={spill}", "bs=1M", f"count={length >> 20}"),
        *("oflag=direct", "conv=notrunc"),
    )
    return length / (time.perf_counter() - start)


def _fio(path: Path, size: int, depth: int, seconds: float) -> tuple[float, float]:
    """Return reads a second, and the mean time of one in seconds."""
    text = run(
        *("fio", f"--filename={path}", *fio.COMMON, "--rw=randread", "--bs=4k"),
        *(f"--iodepth={depth}", f"--size={size}", "--time_based"),
        f"--runtime={seconds * 1000:.0f}ms",
    )
    (job,) = json.loads(text[text.index("{") :])["jobs"]
    return job["read"]["iops"], job["read"]["lat_ns"]["mean"] / 1e9


def _write_back(mountpoint: Path, length: int, results: Results) -> None:
    before = _rss(mountpoint)
    used = int((mountpoint / "mm_stat").read_text().split()[2])
    most = before
    ended = threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.005):
            with suppress(OSError):
                most = max(most, _rss(mountpoint))

    watcher = threading.Thread(target=watch)
    watcher.start()
    (mountpoint / "idle").write_text("all")
    start = time.perf_counter()
    (mountpoint / "writeback").write_text("idle")
    results.add(SpillRow.WRITE.name, "always", length / (time.perf_counter() - start))
    ended.set()
    watcher.join()
    results.add(SpillRow.GROWN.name, "always", most - before)
    results.add(SpillRow.SHRUNK.name, "always", (before - _rss(mountpoint)) / used)


def measure_spill(results: Results, plan: argparse.Namespace) -> None:
    """Measure written-back pages beside the file itself."""
    length = (128 if plan.quick else 512) * _MIB
    seconds = 1.0 if plan.quick else 3.0
    results.sides |= {
        "always": "zramfs, pages written back to the file",
        "fio": "libaio on the file itself",
        "dd": "dd oflag=direct bs=1M to the file itself",
    }
    with _mounted(length >> 20, length >> 20) as (mountpoint, spill):
        swapfile = mountpoint / "swapfile"
        for _ in range(plan.rounds):
            results.add(SpillRow.WRITE.name, "dd", _dd(spill, length))
            fio.fill(swapfile, length)
            _write_back(mountpoint, length, results)
            for depth, row in ((1, SpillRow.LATENCY), (16, SpillRow.READS)):
                for side, path in _in_turn(("always", swapfile), ("fio", spill)):
                    reads, latency = _fio(path, length, depth, seconds / _TURNS)
                    figure = latency if row is SpillRow.LATENCY else reads
                    results.add(row.name, side, figure)


def _in_turn(*sides: tuple[str, Path]) -> Iterator[tuple[str, Path]]:
    """Yield the two of them, A B B A A B: neither is always the first after a write."""
    for turn in range(_TURNS):
        yield from sides if turn % 2 == 0 else reversed(sides)


class _Reader:
    """Reads and writes pages as one that swaps."""

    def __init__(self, swapfile: Path, nr_pages: int) -> None:
        self._fd = os.open(swapfile, os.O_RDWR | os.O_DIRECT)
        self._page = mmap.mmap(-1, _PAGE)
        self._random = random.Random(1)  # noqa: S311  # a workload
        self._pages = self._random.sample(range(nr_pages), nr_pages)
        self._weights = [*accumulate(1 / rank**_SKEW for rank in range(1, nr_pages))]
        self.spilled: set[int] = set()
        self.times: tuple[list[float], list[float]] = ([], [])
        """How long resident pages took, and written-back ones."""

    def close(self) -> None:
        os.close(self._fd)

    def run(self, seconds: float) -> None:
        """Access pages for so long."""
        self.times[0].clear()
        self.times[1].clear()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            ranks = range(len(self._weights))
            for rank in self._random.choices(ranks, cum_weights=self._weights, k=256):
                self._access(self._pages[rank])

    def _access(self, page: int) -> None:
        start = time.perf_counter()
        os.preadv(self._fd, [self._page], page * _PAGE)
        self.times[page in self.spilled].append(time.perf_counter() - start)
        if self._random.random() < _WRITES:
            os.pwritev(self._fd, [self._page], page * _PAGE)
            self.spilled.discard(page)


def _spilled(mountpoint: Path) -> set[int]:
    lines = (mountpoint / "zramfs/block_state").read_text().splitlines()
    return {int(line.split()[0]) for line in lines if "w" in line.split()[2]}


@contextmanager
def _writing_back(mountpoint: Path, reader: _Reader) -> Iterator[None]:
    """Write back what has been idle, all the while."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(_IDLE_S):
            (mountpoint / "writeback").write_text("idle")
            (mountpoint / "idle").write_text("all")
            reader.spilled = _spilled(mountpoint)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _stat(mountpoint: Path, name: str) -> int:
    lines = (mountpoint / "zramfs/rw_page_stat").read_text().splitlines()
    return int(dict(map(str.split, lines))[name])


def _measure_mode(results: Results, mode: str, plan: argparse.Namespace) -> None:
    length = (32 if plan.quick else 128) * _MIB
    nr_pages = length // _PAGE
    seconds = 3.0 if plan.quick else 8.0
    with _mounted(length >> 20, length >> 20) as (mountpoint, _):
        fio.fill(mountpoint / "swapfile", length)
        (mountpoint / "zramfs/rw_page").write_text(mode)
        reader = _Reader(mountpoint / "swapfile", nr_pages)
        reader.run(1.0)  # the working set is known before anything is written back
        (mountpoint / "writeback").write_text(f"page_indexes=0-{nr_pages // 2 - 1}")
        reader.spilled = _spilled(mountpoint)
        with _writing_back(mountpoint, reader):
            reader.run(seconds)
        resident, waited = reader.times
        reader.close()
        figures = {
            RwPageRow.READS: (len(resident) + len(waited)) / seconds,
            RwPageRow.WRITTEN: int((mountpoint / "bd_stat").read_text().split()[2])
            * _PAGE,
            RwPageRow.RESIDENT: int((mountpoint / "mm_stat").read_text().split()[2]),
            RwPageRow.KEPT: _stat(mountpoint, "no_wb_slots"),
        }
        for times, p50, p99 in (
            (resident, RwPageRow.RESIDENT_P50, RwPageRow.RESIDENT_P99),
            (waited, RwPageRow.SPILLED_P50, RwPageRow.SPILLED_P99),
        ):
            if len(times) > 1:
                parts = quantiles(times, n=100)
                figures |= {p50: parts[49], p99: parts[98]}
        for row, figure in figures.items():
            results.add(row.name, mode, figure)


def measure_rw_page(results: Results, plan: argparse.Namespace) -> None:
    """Measure one workload under each mode."""
    results.sides |= {
        "always": "pages in memory answered in place (Linux 6.1)",
        "no_wb": "likewise, and never written back once so read (the RFC)",
        "off": "every request a task (before both)",
    }
    for _ in range(plan.rounds):
        for mode in _MODES:
            _measure_mode(results, mode, plan)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/bench")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--spill", action="store_true", help="beside fio and dd")
    what.add_argument("--rw-page", action="store_true", help="the modes of rw_page")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to save")
    parser.add_argument("--check", action="store_true", help="fail on a missed bound")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Measure what *argv* asks for, print it, save it; return the exit status."""
    plan = _parse(argv)
    results = Results(
        machine=machine.describe(),
        method={
            "command": shlex.join(["tools/bench", *argv]),
            "rounds": str(plan.rounds),
            "data": "pages that compress 2.4:1",
        },
    )
    measure: Callable[[Results, argparse.Namespace], None]
    measure = measure_spill if plan.spill else measure_rw_page
    measure(results, plan)
    console = Console(width=None if sys.stdout.isatty() else 110)
    table.show(console, results)
    bounds = SPILL_BOUNDS if plan.spill else ()
    judged = [bound.judge(results) for bound in bounds]
    if judged:
        table.show_bounds(console, judged, bounds)
    if plan.output:
        name = "spill" if plan.spill else "rw_page"
        (plan.output / f"{name}.json").write_text(results.to_json(judged))
        (plan.output / f"{name}.svg").write_text(chart.draw(results))
    is_missed = any(record["holds"] is False for record in judged)
    return 1 if plan.check and is_missed else 0
