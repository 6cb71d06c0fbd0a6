"""zramfs status: show what is mounted and what it holds.

All mounts, or those named. Sizes are in bytes, under the kernel's names.
"""

import argparse
import json
import sys
from dataclasses import asdict

from zramfs.cli.arguments import path_argument
from zramfs.cli.mounted import Snapshot, read_snapshot
from zramfs.errors import MountRefused
from zramfs.mount.session import zramfs_mounts


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument(
        "mountpoints", metavar="MOUNTPOINT", nargs="*", type=path_argument
    )


def run(args: argparse.Namespace) -> int:
    """Show; 1 if one of the mounts does not answer."""
    rows = []
    status = 0
    for mountpoint in args.mountpoints or zramfs_mounts():
        try:
            rows.append(_row(read_snapshot(mountpoint)))
        except MountRefused as error:
            sys.stderr.write(f"zramfs: {error}\n")
            status = 1
    if args.json:
        json.dump(rows, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return status
    if not rows and not status:
        sys.stdout.write("no zramfs is mounted\n")
    sys.stdout.write("\n".join(map(_text, rows)))
    return status


def _row(snapshot: Snapshot) -> dict[str, str | int]:
    return {
        "mountpoint": str(snapshot.mountpoint),
        "pid": snapshot.pid,
        "disksize": snapshot.disksize,
        "comp_algorithm": snapshot.comp_algorithm,
        **asdict(snapshot.mm_stat),
        **asdict(snapshot.io_stat),
        "backing_dev": snapshot.backing_dev,
        **asdict(snapshot.bd_stat),
        **{f"spill_{name}": value for name, value in snapshot.spill_stat.items()},
    }


def _text(row: dict[str, str | int]) -> str:
    width = max(map(len, row))
    return "".join(f"{name:{width}}  {value}\n" for name, value in row.items())
