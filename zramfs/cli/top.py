"""zramfs top: watch a mount's statistics until Ctrl-C."""

import argparse
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from zramfs.cli.arguments import path_argument
from zramfs.cli.mounted import Snapshot, read_snapshot
from zramfs.units import human_size

_INTERVAL_S: Final = 1.0
_INTERVAL_MAX_S: Final = 86400.0  # time.sleep() refuses what time_t cannot hold


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", type=path_argument)
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_seconds,
        default=_INTERVAL_S,
        help="time between two looks (default: %(default)s)",
    )


def _seconds(text: str) -> float:
    """Return the time that *text* says; ValueError if nobody can wait so long."""
    seconds = float(text)
    if not 0 <= seconds <= _INTERVAL_MAX_S:
        raise ValueError(text)
    return seconds


def run(args: argparse.Namespace) -> int:
    """Watch; a table for a person, else a line at each look."""
    try:
        if sys.stdout.isatty():
            _watch(args.mountpoint, args.interval)
        else:
            _print(args.mountpoint, args.interval)
    except KeyboardInterrupt:
        return 0
    raise AssertionError("unreachable: watching ends by an exception")


def _watch(mountpoint: Path, interval_s: float) -> None:
    with Live(console=Console(), auto_refresh=False) as live:
        while True:
            live.update(_table(read_snapshot(mountpoint)), refresh=True)
            time.sleep(interval_s)


def _print(mountpoint: Path, interval_s: float) -> None:
    while True:
        cells = _cells(read_snapshot(mountpoint))
        line = "  ".join(f"{name} {value}" for name, value in cells.items())
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        time.sleep(interval_s)


def _cells(snapshot: Snapshot) -> dict[str, str]:
    mm_stat = snapshot.mm_stat
    return {
        "stored": human_size(mm_stat.orig_data_size),
        "compressed": human_size(mm_stat.compr_data_size),
        "memory used": human_size(mm_stat.mem_used_total),
        "ratio": f"{snapshot.ratio:.2f}",
        "same": str(mm_stat.same_pages),
        "huge": str(mm_stat.huge_pages),
        "of": human_size(snapshot.disksize),
    }


def _table(snapshot: Snapshot) -> Table:
    cells = _cells(snapshot)
    title = f"{snapshot.mountpoint} ({snapshot.comp_algorithm}), Ctrl-C ends"
    table = Table(*cells, title=title)
    table.add_row(*cells.values())
    return table
