"""zramfs swapon: mount, attach a loop device, make a swap area, swap on it.

If one of these fails, those before it are undone.
"""

import argparse
import sys
from contextlib import ExitStack

from zramfs.cli import daemon, system, umount
from zramfs.cli.options import add_mount_options, to_config
from zramfs.errors import MountRefused
from zramfs.mount.loops import swapfile_of


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    add_mount_options(parser)
    parser.add_argument(
        "--priority", metavar="N", type=int, help="priority of the swap, see swapon(8)"
    )


def run(args: argparse.Namespace) -> int:
    """Mount and swap on."""
    system.require_root("swapon")
    if "disksize" not in args.settings:
        raise MountRefused("swapon wants a --disksize, for example --disksize 1G")
    mountpoint = args.mountpoint
    with ExitStack() as undo:
        status = daemon.start(to_config(args, foreground=False))
        if status:
            return status
        undo.callback(umount.end, mountpoint)
        loop = system.attach(swapfile_of(mountpoint))
        undo.callback(system.detach, loop)
        system.command("mkswap", loop)
        priority = [] if args.priority is None else ["--priority", str(args.priority)]
        # Pages that the kernel swaps no more must not stay: a loop device passes
        # discards on, if they arrive; otherwise the flag does nothing.
        system.command("swapon", "--discard", *priority, loop)
        undo.pop_all()
    sys.stdout.write(f"swapping on {loop}, served from {mountpoint}\n")
    return 0
