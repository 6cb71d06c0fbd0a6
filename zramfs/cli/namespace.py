"""A mount namespace in which a mount is a zram of the kernel's.

Nothing can be added to a directory of sysfs, nor to /dev for one namespace only. So
each is covered by a tmpfs with what was there, links as links and all else bound, and
the device:

    /sys/devices/virtual/block/zramN    the mount
    /sys/block/zramN                    links to it, as sysfs has them
    /sys/class/block/zramN
    /sys/dev/block/MAJ:MIN
    /dev/zramN                          a node of the loop device on its swapfile

Left out are that loop device under its own name, and the kernel's zrams: tools that
look for a zram find this one only. All of it goes with the last process in there.
"""

import ctypes
import errno
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from zramfs.core.disk import Disk

ZRAM: Final = re.compile(r"zram\d+")

_CLONE_NEWNS: Final = 0x00020000  # linux/sched.h
_MS_NOSUID: Final = 2  # linux/mount.h
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_SLAVE: Final = 1 << 19

_DEVICES: Final = Path("sys/devices/virtual/block")

_NODES: Final = Path("dev")

_CONTROL: Final = Path("sys/class/zram-control")

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p)


class System(Protocol):
    """What is asked of the kernel; a refusal is an OSError."""

    def unshare(self) -> None:
        """Give this process a mount namespace of its own, a slave of the other."""

    def cover(self, directory: Path) -> None:
        """Mount an empty tmpfs on *directory*."""

    def bind(self, source: Path | str, target: Path) -> None:
        """Let *target* be *source*, with what is mounted below it."""

    def make_node(self, path: Path, dev: str) -> None:
        """Make the node of a block device, given as MAJOR:MINOR."""


class Kernel:
    """The real one."""

    def unshare(self) -> None:
        """Let in what is unmounted outside, and nothing out."""
        root = Path("/")
        _check(_libc.unshare(_CLONE_NEWNS), root)
        _mount(None, root, None, _MS_REC | _MS_SLAVE)

    def cover(self, directory: Path) -> None:
        """Mount one on which nodes of devices work."""
        _mount("tmpfs", directory, "tmpfs", _MS_NOSUID, "mode=755")

    def bind(self, source: Path | str, target: Path) -> None:
        """Bind a file on a file, or a directory on a directory."""
        _mount(source, target, None, _MS_BIND | _MS_REC)

    def make_node(self, path: Path, dev: str) -> None:
        """Make it with the mode of a zram of the kernel's."""
        major, minor = map(int, dev.split(":"))
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(major, minor))


_KERNEL: Final = Kernel()


def free_name(sys_block: Path = Path("/sys/block")) -> str:
    """Return the first name of a zram that the kernel does not use."""
    number = 0
    while (sys_block / f"zram{number}").exists():
        number += 1
    return f"zram{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a namespace shows, and under which name."""

    mountpoint: Path
    name: str
    """zramN."""
    loop: Disk

    def hides(self, name: str) -> bool:
        """Whether the block device *name* is not to be seen."""
        return name == self.loop.name or ZRAM.fullmatch(name) is not None

    def enter(self, system: System = _KERNEL, root: Path = Path("/")) -> None:
        """Leave for a namespace of this process's own that shows this."""
        system.unshare()
        self._make_device(system, root / _DEVICES)
        for directory, name in (
            ("sys/block", self.name),
            ("sys/class/block", self.name),
            ("sys/dev/block", self.loop.dev),
        ):
            _cover(system, root / directory, self.hides)
            above = os.path.relpath(_DEVICES, directory)
            (root / directory / name).symlink_to(f"{above}/{self.name}")
        _cover(system, root / _NODES, self.hides)
        system.make_node(root / _NODES / self.name, self.loop.dev)
        if (root / _CONTROL).exists():
            _make_control(system, root / _CONTROL)

    def _make_device(self, system: System, directory: Path) -> None:
        _cover(system, directory, self.hides)
        device = directory / self.name
        device.mkdir()
        system.bind(self.mountpoint, device)
        disk = replace(self.loop, name=self.name)
        # Of several loop devices on the swapfile it is this one in here.
        for name, text in (
            ("dev", f"{disk.dev}\n"),
            ("diskseq", f"{disk.diskseq}\n"),
            ("uevent", disk.uevent()),
        ):
            made = directory / ".made"
            made.write_text(text)
            system.bind(made, device / name)
            made.unlink()


def _cover(system: System, directory: Path, hides: Callable[[str], bool]) -> None:
    """Cover *directory* by a tmpfs with all that is in it but what *hides* names.

    A link has the name of what it links to: in /sys/dev/block its own is a number.
    """
    below = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        paths = list(directory.iterdir())
        links = {path: path.readlink() for path in paths if path.is_symlink()}
        directories = {path for path in paths if path.is_dir()}
        system.cover(directory)
        for path in paths:
            if hides(links.get(path, path).name):
                continue
            if path in links:
                path.symlink_to(links[path])
                continue
            if path in directories:
                path.mkdir()
            else:
                path.touch()
            system.bind(f"/proc/self/fd/{below}/{path.name}", path)
    finally:
        os.close(below)


def _make_control(system: System, directory: Path) -> None:
    """Let adding a device fail, and removing one do nothing."""
    _cover(system, directory, lambda _: True)
    hot_add = directory / "hot_add"
    hot_add.write_text(f"{-errno.ENOMEM}\n")
    hot_add.chmod(0o400)
    (directory / "hot_remove").touch(mode=0o200)


def _mount(
    source: Path | str | None,
    target: Path,
    fs_type: str | None,
    flags: int,
    data: str | None = None,
) -> None:
    words = [os.fsencode(word) if word else None for word in (source, fs_type, data)]
    _check(
        _libc.mount(words[0], os.fsencode(target), words[1], flags, words[2]), target
    )


def _check(result: int, about: Path) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(about))
