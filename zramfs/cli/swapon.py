"""zramfs swapon: mount, attach a loop device, make a swap area, swap on it.

What is mounted already is swapped on as it is.

If one of these fails, or something essential for doing so safely is missing (see
'zramfs doctor'), those before it are undone.
"""

import argparse
import sys
from contextlib import ExitStack

from zramfs.cli import daemon, doctor, system, umount
from zramfs.cli.mounted import read_snapshot
from zramfs.cli.options import add_mount_options, to_config
from zramfs.errors import MountRefused
from zramfs.mount.loops import loops_on, swapfile_of
from zramfs.mount.session import zramfs_mounts


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    add_mount_options(parser)
    parser.add_argument(
        "--priority", metavar="N", type=int, help="priority of the swap, see swapon(8)"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="swap on it though something essential for safety is missing",
    )


def run(args: argparse.Namespace) -> int:
    """Mount and swap on."""
    system.require_root("swapon")
    mountpoint = args.mountpoint
    with ExitStack() as undo:
        if mountpoint in zramfs_mounts():
            _check_mounted(args)
        else:
            if "disksize" not in args.settings:
                raise MountRefused("swapon wants a --disksize, such as --disksize 1G")
            status = daemon.start(to_config(args, foreground=False))
            if status:
                return status
            undo.callback(umount.end, mountpoint)
        loop = system.attach(swapfile_of(mountpoint))
        undo.callback(system.detach, loop)
        system.complete_where_asked(loop)
        if not args.force:
            doctor.require_safe(mountpoint)
        system.command("mkswap", loop)
        priority = [] if args.priority is None else ["--priority", str(args.priority)]
        # Pages that the kernel swaps no more must not stay: a loop device passes
        # discards on, if they arrive; otherwise the flag does nothing.
        system.command("swapon", "--discard", *priority, loop)
        undo.pop_all()
    sys.stdout.write(f"swapping on {loop}, served from {mountpoint}\n")
    return 0


def _check_mounted(args: argparse.Namespace) -> None:
    """Raise MountRefused unless what is mounted can be swapped on as it is."""
    mountpoint = args.mountpoint
    loops = loops_on(mountpoint)
    if loops:
        raise MountRefused(f"{' '.join(map(str, loops))} is attached to {mountpoint}")
    if args.settings:
        names = " ".join(f"--{name.replace('_', '-')}" for name in args.settings)
        raise MountRefused(f"{mountpoint} is mounted already: {names} comes too late")
    if not read_snapshot(mountpoint).disksize:
        raise MountRefused(f"{mountpoint} has no disksize: echo 1G >disksize there")
