"""mount.zramfs: what mount(8) runs for a line of fstab.

    SOURCE MOUNTPOINT [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]

SOURCE is only a name. mount(8) finds this program as /sbin/mount.zramfs for the type
``zramfs``; for ``fuse.zramfs`` mount.fuse(8) runs ``zramfs`` itself with the same
arguments. The exit status is that of mount(8).
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from zramfs.cli import daemon
from zramfs.cli.arguments import Parser
from zramfs.cli.options import add_mount_options, to_config
from zramfs.cli.standard import open_standard_files
from zramfs.errors import ZramError, sentence

MOUNT_USAGE: Final = 1  # libmount's exit status: a wrong command line, no permission
MOUNT_FAIL: Final = 32


class _HelperParser(Parser):
    """A parser with the exit status of mount(8)."""

    def error(self, message: str) -> NoReturn:
        """End with the sentence."""
        self.exit(MOUNT_USAGE, f"{self.prog}: {message}\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of a mount helper's command line."""
    parser = _HelperParser(prog="mount.zramfs", description=__doc__)
    parser.add_argument("source", metavar="SOURCE", help="a name that is not used")
    add_mount_options(parser)
    parser.add_argument("-s", dest="sloppy", action="store_true", help="ignored")
    parser.add_argument(
        "-f", dest="fake", action="store_true", help="check the options; do not mount"
    )
    parser.add_argument("-n", dest="no_mtab", action="store_true", help="ignored")
    parser.add_argument("-v", dest="verbose", action="store_true", help="ignored")
    parser.add_argument("-N", dest="namespace", help="ignored: mount(8) has entered it")
    parser.add_argument("-t", dest="type", help="ignored")
    return parser


def is_helper_call(argv: Sequence[str]) -> bool:
    """Whether *argv*, which begins with no command, is that of mount.fuse(8).

    It always has options; a mistyped command must not mount anything.
    """
    match argv:
        case [source, _, "-o", _]:
            return not source.startswith("-")
        case _:
            return False


def main(argv: Sequence[str] | None = None) -> int:
    """Mount as *argv* says and return the exit status."""
    open_standard_files()
    args = make_parser().parse_args(argv)
    if args.fake:
        return 0
    try:
        status = daemon.start(to_config(args, foreground=False))
    except (ZramError, OSError) as error:
        sys.stderr.write(f"mount.zramfs: {sentence(error)}\n")
        return MOUNT_FAIL
    return MOUNT_FAIL if status else 0
