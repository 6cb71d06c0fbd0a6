"""``zramfs COMMAND ...``: what the commands are, and their exit status.

0: done. 1: refused or failed; one sentence on stderr says why and what to do, and
nothing is left half done. 2: the command line is wrong.

Without a command, ``zramfs SOURCE MOUNTPOINT -o OPTIONS`` is mount.fuse(8) calling.

Only the module of the command that runs is imported: what a mount knows of its
attributes, NumPy below it, takes 0.2 s, and most commands need none of it.
"""

import argparse
import signal
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Final, Protocol, cast

from zramfs import __version__
from zramfs.cli.arguments import Parser
from zramfs.cli.standard import open_standard_files
from zramfs.errors import ZramError, sentence


class Command(Protocol):
    """A module that is a command."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Describe the arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it and return the exit status; a ZramError is the sentence to print."""


COMMANDS: Final = {
    "mount": "mount",
    "umount": "umount",
    "swapon": "swapon",
    "swapoff": "swapoff",
    "status": "status",
    "top": "top",
    "doctor": "doctor",
    "upgrade": "upgrade",
    "exec": "execute",
}
"""The commands, and the modules that they are."""


def command_of(name: str) -> Command:
    """Return the command *name*."""
    return cast("Command", import_module(f"zramfs.cli.{COMMANDS[name]}"))


def make_parser(names: Collection[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of the whole command line, or of the commands *names*."""
    parser = Parser(
        prog="zramfs",
        description="A zram-style swapfile as a FUSE filesystem.",
        epilog="Exit status: 0 done, 1 refused or failed, 2 bad command line.",
    )
    parser.add_argument("--version", action="version", version=f"zramfs {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in names:
        command = command_of(name)
        summary = (command.__doc__ or "").partition("\n")[0]
        summary = summary.partition(": ")[2].rstrip(".")
        command.configure(
            commands.add_parser(name, help=summary, description=command.__doc__)
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv* and return the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    asked = argv[:1]
    if asked and asked[0] not in COMMANDS:
        helper = import_module("zramfs.cli.fstab")
        if helper.is_helper_call(argv):
            return int(helper.main(argv))
    open_standard_files()
    names = [name for name in asked if name in COMMANDS]
    args = make_parser(names or COMMANDS).parse_args(argv)
    try:
        return command_of(args.command).run(args)
    except (ZramError, OSError) as error:
        sys.stderr.write(f"zramfs: {sentence(error)}\n")
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 1
