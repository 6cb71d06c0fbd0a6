"""zramfs swapoff: swap off, detach the loop device, unmount.

If swapping off fails, because there is no room for the pages, all is as it was.
"""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import Progress

from zramfs.cli import system, umount
from zramfs.cli.arguments import path_argument
from zramfs.cli.mounted import require_mount
from zramfs.errors import MountRefused
from zramfs.mount.loops import loops_on, swap_used, swaps_on

_LOOK_S: Final = 0.2
_DETACH_TIMEOUT_S: Final = 10
"""A detached loop device goes when its last user closes it; udev looks at it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", type=path_argument)


def run(args: argparse.Namespace) -> int:
    """Swap off and unmount."""
    mountpoint = args.mountpoint
    system.require_root("swapoff")
    require_mount(mountpoint)
    for swap in swaps_on(mountpoint):
        _swap_off(swap)
    for loop in loops_on(mountpoint):
        system.detach(loop)
    _wait_detached(mountpoint)
    umount.end(mountpoint)
    return 0


def _swap_off(swap: Path) -> None:
    """Swap off, showing a person how far it has come."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(system.command, "swapoff", swap)
        if sys.stderr.isatty():
            used = swap_used(swap)
            with Progress(console=Console(stderr=True), transient=True) as progress:
                bar = progress.add_task(f"swapoff {swap}", total=used)
                while not done.done():
                    progress.update(bar, completed=used - swap_used(swap))
                    wait([done], _LOOK_S)
        done.result()


def _wait_detached(mountpoint: Path) -> None:
    deadline = time.monotonic() + _DETACH_TIMEOUT_S
    while loops := loops_on(mountpoint):
        if time.monotonic() > deadline:
            names = " ".join(map(str, loops))
            raise MountRefused(f"swapped off, but {names} is still in use")
        time.sleep(0.01)
