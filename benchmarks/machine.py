"""On what, and with what, the figures were made."""

import os
import platform
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks.commands import BenchError, find, revision, run

_PACKAGES: Final = ("lz4", "numpy", "pyfuse3", "trio")

_PROGRAMS: Final = (
    ("fio", "--version"),
    ("fusermount3", "--version"),
    ("nbdkit", "--version"),
    ("nbdfuse", "--version"),
)


def describe() -> dict[str, str]:
    """Return what is to be said about this machine, by name."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "zramfs": revision(),
        "cpu": f"{os.cpu_count()} x {_first('/proc/cpuinfo', 'model name')}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') >> 20}"
        " MiB",
        "load": f"{os.getloadavg()[0]:.2f} before the run",
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        **dict(_programs()),
    }


def _first(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return platform.machine()


def _programs() -> Iterable[tuple[str, str]]:
    for name, option in _PROGRAMS:
        if find(name):
            try:
                numbers = re.findall(r"\d[\d.]+", run(name, option))
            except BenchError:
                continue
            yield name, numbers[0] if numbers else "unknown"


def busy_share(seconds: float) -> float:
    """Return which part of the CPUs is in use while we do nothing for *seconds*."""
    idle, total = _cpu_times()
    time.sleep(seconds)
    idle_later, total_later = _cpu_times()
    return 1 - (idle_later - idle) / max(total_later - total, 1)


def _cpu_times() -> tuple[int, int]:
    """Return the ticks spent idle, and all ticks, since boot (proc(5), stat)."""
    with Path("/proc/stat").open() as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)
