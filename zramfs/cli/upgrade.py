"""zramfs upgrade: let the code that is now installed take over a mount.

No request fails meanwhile, and nothing need be swapped off. If the new code cannot
start, or does not understand the memory of the old, the old goes on serving.
"""

import argparse
import sys

from zramfs.cli import daemon
from zramfs.cli.arguments import path_argument
from zramfs.cli.mounted import require_mount, supervisor_pid
from zramfs.errors import MountRefused
from zramfs.mount import upgrade


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", type=path_argument)


def run(args: argparse.Namespace) -> int:
    """Upgrade."""
    require_mount(args.mountpoint)
    supervisor = supervisor_pid(args.mountpoint)
    if not supervisor:
        raise MountRefused(f"{args.mountpoint} has no supervisor that could upgrade it")
    path = daemon.environment()["PYTHONPATH"]
    program = upgrade.Program(executable=sys.executable, path=path)
    pid = upgrade.ask(supervisor, program)
    sys.stdout.write(f"process {pid} now serves {args.mountpoint}\n")
    return 0
