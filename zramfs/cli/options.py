"""The options of a mount, shared by ``mount`` and ``swapon``.

There is one for each attribute that can be set at the start, named after it. Each
also works as ``-o key=value``, so that fstab and mount(8) can be used.
"""

import argparse
import os
from collections.abc import Mapping
from typing import Final

from zramfs.cli.arguments import path_argument
from zramfs.core.attributes import ATTRIBUTES, Attribute
from zramfs.errors import InvalidValue, ZramError
from zramfs.mount.config import DATA_PATHS, Config
from zramfs.mount.control import control_files
from zramfs.mount.paths import Paths, RwPage
from zramfs.seal import CIPHERS
from zramfs.units import PAGE_SIZE, memparse

_GENERIC: Final = frozenset(
    {
        *("defaults", "rw", "auto", "noauto", "nofail", "_netdev", "sync", "async"),
        *("user", "nouser", "users", "owner", "group", "suid", "nosuid", "dev"),
        *("nodev", "exec", "noexec", "atime", "noatime", "relatime", "norelatime"),
    }
)
"""Options of mount(8) that say nothing to a zramfs, or what holds anyway."""


class _SettingAction(argparse.Action):
    """Keep the value of an attribute, if the attribute would take it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Look at the value as a store would, and keep it under the row's name."""
        _set(parser, namespace, self.dest, str(values))


def _set(
    parser: argparse.ArgumentParser,
    namespace: argparse.Namespace,
    name: str,
    value: str,
) -> None:
    row = _SETTINGS[name]
    try:
        # invariant: only attributes that can be stored are options.
        assert row.parse, name
        row.parse(value)
    except ZramError as error:
        parser.error(f"bad {name}: {error}")
    namespace.settings[name] = value


class _MountOptionAction(argparse.Action):
    """Take ``-o key=value,...``: our own options, and generic ones of mount(8)."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Treat each as if it stood on the command line as ``--key value``."""
        for item in str(values).split(","):
            key, equals, value = item.partition("=")
            name = key.replace("-", "_")
            if not item or item in _GENERIC or item.startswith(("x-", "X-")):
                continue
            if not equals or name not in (*_SETTINGS, *_PLAIN):
                parser.error(f"unknown mount option {item!r}")
            if name in _SETTINGS:
                _set(parser, namespace, name, value)
            else:
                setattr(namespace, name, _plain(parser, name, value))


def _plain(parser: argparse.ArgumentParser, name: str, value: str) -> str | int:
    """Return what an option that is no attribute means by *value*."""
    if value not in _CHOICES.get(name, (value,)):
        parser.error(f"unknown {name.replace('_', ' ')} {value!r}")
    if name != "backing_size":
        return value
    try:
        return _size(value)
    except argparse.ArgumentTypeError as error:
        parser.error(f"bad backing_size: {error}")


def _size(text: str) -> int:
    """Return *text* as a size of whole pages."""
    try:
        size = memparse(text) & -PAGE_SIZE
    except InvalidValue as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not size:
        raise argparse.ArgumentTypeError(f"less than a page: {text!r}")
    return size


_SETTINGS: Final[Mapping[str, Attribute]] = {
    row.name: row
    for row in (*ATTRIBUTES.values(), *control_files(Paths(RwPage.ALWAYS), lane=True))
    if row.option
}
"""Every control file that is an option, by name."""

_PLAIN: Final = ("data_path", "log_file", "backing_size", "encrypt")

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "data_path": DATA_PATHS,
    "encrypt": CIPHERS,
}


def add_mount_options(parser: argparse.ArgumentParser) -> None:
    """Add the mountpoint and the options that say what to mount there."""
    parser.set_defaults(settings={})
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", type=path_argument)
    for name, row in _SETTINGS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            action=_SettingAction,
            metavar=row.option,
            help=row.doc,
        )
    parser.add_argument(
        "--data-path",
        choices=DATA_PATHS,
        default=DATA_PATHS[0],
        help="who reads /dev/fuse (default: %(default)s)",
    )
    parser.add_argument(
        "--backing-size",
        metavar="SIZE",
        type=_size,
        help="make backing_dev, a file of this size, unless it is there already",
    )
    parser.add_argument(
        "--encrypt",
        choices=CIPHERS,
        help="encrypt pages that are written back, with a key in memory only",
    )
    parser.add_argument(
        "--log-file",
        metavar="PATH",
        type=os.path.abspath,
        help="where to log; otherwise stderr with -f, else the system log",
    )
    parser.add_argument(
        "-o",
        action=_MountOptionAction,
        metavar="KEY=VALUE,...",
        help="the same options as mount(8) passes them",
    )


def to_config(args: argparse.Namespace, *, foreground: bool) -> Config:
    """Return the configuration that the parsed *args* describe."""
    return Config(
        mountpoint=str(args.mountpoint),
        settings=dict(args.settings),
        data_path=args.data_path,
        foreground=foreground,
        log_file=args.log_file,
        backing_size=args.backing_size,
        encrypt=args.encrypt,
    )
