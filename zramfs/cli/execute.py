"""zramfs exec: run a command that sees a mount as a zram of the kernel's.

In a private mount namespace /sys/block/zramN is the mount and /dev/zramN a loop device
on its swapfile: zramctl, lsblk, mkswap, swapon and mkfs work as with a real one. CMD
finds the name in $ZRAM. When CMD ends, whatever else runs in the namespace is killed;
the loop device, unless it was attached before, is swapped off and detached. The exit
status is that of CMD, 128 + N if signal N killed it, 127 if it cannot be found and 126
if it cannot be run.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from zramfs.cli import system
from zramfs.cli.arguments import path_argument
from zramfs.cli.guard import Scene, guarded, namespace_of
from zramfs.cli.job import prepared
from zramfs.cli.mounted import require_mount, worker_pid
from zramfs.cli.namespace import ZRAM, View, free_name
from zramfs.errors import MountRefused
from zramfs.mount.loop_device import IOCTL_ONLY, attach
from zramfs.mount.loops import disk_of, loops_on, swapfile_of

_DETACH_TIMEOUT_S: Final = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.set_defaults(refuse=parser.error)
    parser.add_argument(
        "--name",
        metavar="zramN",
        type=_name,
        help="name of the device (default: the first that the kernel does not use)",
    )
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", type=path_argument)
    parser.add_argument(
        "words", metavar="-- CMD ARG", nargs=argparse.REMAINDER, help="what to run"
    )


def _name(text: str) -> str:
    if not ZRAM.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name like zram1")
    return text


def run(args: argparse.Namespace) -> int:
    """Run the command, and return its exit status."""
    if not args.words or args.words[0].startswith("-"):
        args.refuse("options, then MOUNTPOINT, then '--' and the command to run")
    system.require_root("exec")
    mountpoint = args.mountpoint
    require_mount(mountpoint)
    if worker_pid(mountpoint) is None:
        raise MountRefused(f"{mountpoint} does not answer")
    name = args.name or free_name()
    with _loop_on(mountpoint) as (loop, fd, is_ours):
        disk = disk_of(loop)
        if disk is None:
            raise MountRefused(f"{loop} has been detached")
        view = View(mountpoint=mountpoint, name=name, loop=disk)
        with prepared(view.enter, args.words, os.environ | {"ZRAM": name}) as job:
            scene = Scene(
                namespace=namespace_of(job.pid), swap=loop if is_ours else None
            )
            with guarded(scene.clean, fd):
                return job.run()


@contextmanager
def _loop_on(mountpoint: Path) -> Iterator[tuple[Path, int, bool]]:
    """Find a loop device on *mountpoint*, or attach one for the time.

    Yields a descriptor for it, too, and whether it was attached here.
    """
    attached = loops_on(mountpoint)
    if attached:
        loop = attached[0]
        fd = os.open(loop, IOCTL_ONLY | os.O_CLOEXEC)
    else:
        loop, fd = attach(swapfile_of(mountpoint))
    try:
        yield loop, fd, not attached
    finally:
        os.close(fd)
        if not attached and not _is_detached(loop, mountpoint):
            sys.stderr.write(f"zramfs: {loop} is in use, and stays until it is not\n")


def _is_detached(loop: Path, mountpoint: Path) -> bool:
    """Wait until *loop* is detached, and return whether it is.

    The kernel unmounts what was mounted in a namespace after its last process has gone.
    """
    deadline = time.monotonic() + _DETACH_TIMEOUT_S
    while loop in loops_on(mountpoint):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
