"""zramfs swapon: mount, attach a loop device, make a swap area, swap on it.

If one of these fails, or something essential for doing so safely is missing (see
'zramfs doctor'), those before it are undone.
"""

import argparse
import sys
from contextlib import ExitStack

from zramfs.cli import daemon, doctor, system, umount
from zramfs.cli.options import add_mount_options, to_config
from zramfs.errors import MountRefused
from zramfs.mount.loops import swapfile_of


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
