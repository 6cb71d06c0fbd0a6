"""zramfs umount: unmount, and wait for the daemon to end.

All pages are gone then. A dead mount is removed.
"""

import argparse
from pathlib import Path

from zramfs.cli import daemon
from zramfs.cli.arguments import path_argument
from zramfs.cli.mounted import require_mount, supervisor_pid, worker_pid
from zramfs.errors import MountRefused
from zramfs.mount import session
from zramfs.mount.loops import loops_on


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", type=path_argument)


def run(args: argparse.Namespace) -> int:
    """Unmount."""
    end(args.mountpoint)
    return 0


def end(mountpoint: Path) -> None:
    """Unmount *mountpoint* and wait for its daemon to end.

    MountRefused, with everything as it was, if it is in use.
    """
    require_mount(mountpoint)
    loops = loops_on(mountpoint)
    if loops:
        names = " ".join(map(str, loops))
        raise MountRefused(
            f"{names} is attached to {mountpoint}/swapfile: "
            f"run 'zramfs swapoff {mountpoint}', or detach it with losetup -d"
        )
    pids = worker_pid(mountpoint), supervisor_pid(mountpoint)
    session.unmount(mountpoint, lazy=pids[0] is None)
    for pid in filter(None, pids):
        daemon.wait_end(pid)
