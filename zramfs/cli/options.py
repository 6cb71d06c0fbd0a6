"""The options of a mount, shared by ``mount`` and ``swapon``.

There is one for each attribute that can be set at the start, named after it. Each
also works as ``-o key=value``, so that fstab and mount(8) can be used.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from zramfs.core.attributes import ATTRIBUTES, Attribute
from zramfs.errors import ZramError
from zramfs.mount.config import DATA_PATHS, Config
from zramfs.mount.control import control_files
from zramfs.mount.paths import Paths, RwPage

_GENERIC: Final = frozenset(
    {
        *("defaults", "rw", "auto", "noauto", "nofail", "_netdev", "sync", "async"),
        *("user", "nouser", "users", "owner", "group", "suid", "nosuid", "dev"),
        *("nodev", "exec", "noexec", "atime", "noatime", "relatime", "norelatime"),
    }
)
"""Options of mount(8) that say nothing to a zramfs, or what holds anyway."""


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence."""

    def error(self, message: str) -> NoReturn:
        """End with status 2 and the sentence."""
        self.exit(2, f"{self.prog}: {message}; see '{self.prog} --help'\n")


def path_argument(text: str) -> Path:
    """Return the absolute path of a mountpoint, without looking at it.

    Its last part may be a dead mount that cannot be looked at.
    """
    parent, name = os.path.split(Path(text).absolute())
    path = Path(os.path.realpath(parent), name)
    try:
        path.readlink()
    except OSError:
        return path
    return path.resolve()


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
            elif name == "data_path" and value not in DATA_PATHS:
                parser.error(f"unknown data path {value!r}")
            else:
                setattr(namespace, name, value)


_SETTINGS: Final[Mapping[str, Attribute]] = {
    row.name: row
    for row in (*ATTRIBUTES.values(), *control_files(Paths(RwPage.ALWAYS), lane=True))
    if row.option
}
"""Every control file that is an option, by name."""

_PLAIN: Final = ("data_path", "log_file")


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
    )
