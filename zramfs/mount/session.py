"""Mounting and unmounting: where the FUSE connection comes from and goes to.

zramfs opens /dev/fuse itself and passes it to mount(2); without root, fusermount3
does both and hands the descriptor back over a socket (the protocol of libfuse's
``mount.c``: the socket's number in ``_FUSE_COMMFD``, one SCM_RIGHTS message). The
descriptor is given to libfuse as ``/dev/fd/N``, which it takes as mounted.
"""

import ctypes
import errno
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zramfs.errors import MountRefused

FS_TYPE: Final = "fuse.zramfs"
MAX_READ: Final = 1 << 20  # the most that FUSE carries: 256 pages
FUSE_DEVICE: Final = "/dev/fuse"

PLACEHOLDER: Final = ".gitkeep"
"""May lie in a mountpoint: git cannot keep a directory that is quite empty."""

_MS_NOSUID: Final = 2  # linux/mount.h
_MS_NODEV: Final = 4
_MNT_DETACH: Final = 2

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """One line of /proc/self/mountinfo."""

    path: Path
    fs_type: str
    device: str
    """MAJOR:MINOR; the minor number names the FUSE connection."""


def unescaped(name: bytes) -> Path:
    """Return the path that files of /proc show as *name*.

    The kernel's seq_path() writes blanks, newlines and backslashes as octal numbers.
    """
    return Path(os.fsdecode(name.decode("unicode_escape").encode("latin-1")))


def parse_mountinfo(text: bytes) -> list[MountPoint]:
    """Return the mounts that *text* lists, in its order (proc(5), mountinfo)."""
    found = []
    # Lines end with \n only: other ends of lines may be part of a name.
    for line in filter(None, text.split(b"\n")):
        fields, _, rest = line.partition(b" - ")
        _, _, device, _, path = fields.split(b" ")[:5]
        found.append(
            MountPoint(
                path=unescaped(path),
                fs_type=rest.split(b" ")[0].decode(),
                device=device.decode(),
            )
        )
    return found


def mounts() -> list[MountPoint]:
    """Return what is mounted in this namespace, the oldest first."""
    return parse_mountinfo(Path("/proc/self/mountinfo").read_bytes())


def zramfs_mounts() -> list[Path]:
    """Return where a zramfs is mounted in this namespace."""
    return [mount.path for mount in mounts() if mount.fs_type == FS_TYPE]


def check_mountpoint(mountpoint: Path) -> None:
    """Raise MountRefused, in a sentence, unless *mountpoint* can be mounted on."""
    try:
        names = {entry.name for entry in mountpoint.iterdir()}
    except FileNotFoundError:
        raise MountRefused(f"{mountpoint} does not exist: create it first") from None
    except NotADirectoryError:
        raise MountRefused(f"{mountpoint} is not a directory") from None
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            hint = f"'zramfs umount {mountpoint}' removes it"
            raise MountRefused(
                f"a dead mount is left on {mountpoint}: {hint}"
            ) from None
        raise MountRefused(f"{mountpoint}: {error.strerror}") from error
    for mount in mounts():
        if mount.path == mountpoint:
            raise MountRefused(f"a {mount.fs_type} is already mounted on {mountpoint}")
    if names - {PLACEHOLDER}:
        raise MountRefused(f"{mountpoint} is not empty")


def connect(mountpoint: Path) -> int:
    """Mount a FUSE filesystem on *mountpoint*; return its connection.

    MountRefused, with nothing mounted, if that cannot be.
    """
    if not Path(FUSE_DEVICE).exists():
        raise MountRefused(f"{FUSE_DEVICE} is missing: load the kernel module fuse")
    if os.geteuid() == 0:
        return _connect_as_root(mountpoint)
    return _connect_as_user(mountpoint)


def _connect_as_root(mountpoint: Path) -> int:
    try:
        fd = os.open(FUSE_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MountRefused(f"cannot open {FUSE_DEVICE}: {error.strerror}") from error
    options = (
        f"fd={fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},"
        f"default_permissions,allow_other,max_read={MAX_READ}"
    )
    if _libc.mount(
        b"zramfs",
        os.fsencode(mountpoint),
        FS_TYPE.encode(),
        _MS_NOSUID | _MS_NODEV,
        options.encode(),
    ):
        number = ctypes.get_errno()
        os.close(fd)
        raise MountRefused(f"cannot mount on {mountpoint}: {os.strerror(number)}")
    return fd


def _connect_as_user(mountpoint: Path) -> int:
    options = (
        "fsname=zramfs,subtype=zramfs,nosuid,nodev,default_permissions,"
        f"max_read={MAX_READ}"
    )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        done = subprocess.run(
            [_fusermount(), "-o", options, "--", mountpoint],
            env=os.environ | {"_FUSE_COMMFD": str(theirs.fileno())},
            pass_fds=(theirs.fileno(),),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise MountRefused(f"cannot mount on {mountpoint}: {done.stderr.strip()}")
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    os.set_inheritable(fds[0], False)  # noqa: FBT003  # positional only
    return fds[0]


def _fusermount() -> str:
    path = shutil.which("fusermount3")
    if path is None:
        raise MountRefused("fusermount3 is missing: install the package fuse3")
    return path


def unmount(mountpoint: Path, *, lazy: bool = False) -> None:
    """Unmount *mountpoint*; *lazy* takes it out of sight while it is in use.

    MountRefused, with the mount as it was, if that cannot be.
    """
    if os.geteuid() == 0:
        flags = _MNT_DETACH if lazy else 0
        if _libc.umount2(os.fsencode(mountpoint), flags):
            number = ctypes.get_errno()
            raise MountRefused(f"cannot unmount {mountpoint}: {os.strerror(number)}")
        return
    command = [_fusermount(), "-uz" if lazy else "-u", "--", str(mountpoint)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise MountRefused(f"cannot unmount {mountpoint}: {done.stderr.strip()}")
