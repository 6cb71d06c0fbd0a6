"""zramfs doctor: say what keeps swapping on zramfs from being safe, and what to do.

One line for each measure: 'ok', 'refused' (it works, but less safely), or 'refused,
essential'. Without a MOUNTPOINT it is about this machine, with one about that mount and
the process that serves it. Exit status: 0 unless something essential is missing, 1 if
it is, or if the mount does not answer.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from zramfs.cli.arguments import path_argument
from zramfs.cli.machine import machine_measures
from zramfs.cli.mounted import require_mount
from zramfs.cli.stacked import stacking_measure
from zramfs.errors import MountRefused
from zramfs.mount.hardening import shown_lock
from zramfs.mount.measures import Measure, parse_measure, show_measures

_PROC: Final = Path("/proc")


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument(
        "mountpoint", metavar="MOUNTPOINT", nargs="?", type=path_argument
    )


def run(args: argparse.Namespace) -> int:
    """Show; 1 if something essential is missing."""
    if args.mountpoint is None:
        measures = machine_measures()
    else:
        measures = _all_measures(args.mountpoint)
    if args.json:
        json.dump(list(map(_row, measures)), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(show_measures(measures))
    return int(any(measure.is_missing for measure in measures))


def read_measures(mountpoint: Path) -> list[Measure]:
    """Return what the worker of *mountpoint* says; MountRefused if it says nothing."""
    require_mount(mountpoint)
    try:
        text = (mountpoint / "zramfs/swap_safety").read_text()
    except OSError as error:
        reason = error.strerror
        raise MountRefused(f"{mountpoint} does not answer: {reason}") from error
    return [parse_measure(line) for line in text.splitlines()]


def _all_measures(mountpoint: Path) -> list[Measure]:
    return [
        *read_measures(mountpoint),
        supervisor_measure(mountpoint),
        stacking_measure(mountpoint),
    ]


def supervisor_measure(mountpoint: Path, proc: Path = _PROC) -> Measure:
    """Return whether whoever starts the next worker is there, and in memory."""
    try:
        pid = int((mountpoint / "zramfs/supervisor_pid").read_text())
        holds, fact = shown_lock(proc / str(pid)) if pid else (False, "it is dead")
    except OSError:
        holds, fact = False, "it is dead"
    return Measure(
        name="supervisor",
        refusal=None if holds else fact,
        consequence="no other worker may be started when this one dies, and all pages "
        "are lost then; swap off, and mount again",
        fact=fact,
    )


def require_safe(mountpoint: Path) -> None:
    """Raise MountRefused if *mountpoint* lacks what swapping on it must have."""
    missing = [measure for measure in _all_measures(mountpoint) if measure.is_missing]
    if missing:
        first = missing[0]
        raise MountRefused(
            f"not swapped on: {first.name} is refused ({first.refusal}): "
            f"{first.consequence}; or insist with --force"
        )


def _row(measure: Measure) -> dict[str, str | bool | None]:
    return {"ok": measure.refusal is None, **asdict(measure)}
