"""``zramfs COMMAND ...``: what the commands are, and their exit status.

0: done. 1: refused or failed; one sentence on stderr says why and what to do, and
nothing is left half done. 2: the command line is wrong.

Without a command, ``zramfs SOURCE MOUNTPOINT -o OPTIONS`` is mount.fuse(8) calling.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import Final, Protocol

from zramfs import __version__
from zramfs.cli import (
    doctor,
    execute,
    fstab,
    mount,
    status,
    swapoff,
    swapon,
    top,
    umount,
    upgrade,
)
from zramfs.cli.options import Parser
from zramfs.cli.standard import open_standard_files
from zramfs.errors import ZramError, sentence


class Command(Protocol):
    """A module that is a command."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Describe the arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it and return the exit status; a ZramError is the sentence to print."""


COMMANDS: Final[dict[str, Command]] = {
    "mount": mount,
    "umount": umount,
    "swapon": swapon,
    "swapoff": swapoff,
    "status": status,
    "top": top,
    "doctor": doctor,
    "upgrade": upgrade,
    "exec": execute,
}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="zramfs",
        description="A zram-style swapfile as a FUSE filesystem.",
        epilog="Exit status: 0 done, 1 refused or failed, 2 bad command line.",
    )
    parser.add_argument("--version", action="version", version=f"zramfs {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").partition("\n")[0]
        summary = summary.partition(": ")[2].rstrip(".")
        module.configure(
            commands.add_parser(name, help=summary, description=module.__doc__)
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv* and return the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] not in COMMANDS and fstab.is_helper_call(argv):
        return fstab.main(argv)
    open_standard_files()
    args = make_parser().parse_args(argv)
    try:
        return COMMANDS[args.command].run(args)
    except (ZramError, OSError) as error:
        sys.stderr.write(f"zramfs: {sentence(error)}\n")
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 1
