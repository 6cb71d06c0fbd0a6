"""zramfs mount: mount a compressed swapfile.

Returns when the mount is ready and served in the background. With -f it stays, and
logs to stderr.
"""

import argparse

from zramfs.cli import daemon
from zramfs.cli.options import add_mount_options, to_config


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    add_mount_options(parser)
    parser.add_argument(
        "-f", "--foreground", action="store_true", help="stay in the foreground"
    )


def run(args: argparse.Namespace) -> int:
    """Mount."""
    config = to_config(args, foreground=args.foreground)
    if args.foreground:
        daemon.become(config)
    return daemon.start(config)
