"""Which loop devices and swaps stand on a mount, as the kernel tells."""

import os
import re
from pathlib import Path
from typing import Final

from zramfs.core.disk import Disk
from zramfs.mount.names import SWAPFILE
from zramfs.mount.session import unescaped

SYS_BLOCK: Final = Path("/sys/block")
PROC_SWAPS: Final = Path("/proc/swaps")


def swapfile_of(mountpoint: Path) -> Path:
    """Return the swapfile of the mount on *mountpoint*."""
    return mountpoint / os.fsdecode(SWAPFILE)


def loops_on(mountpoint: Path, sys_block: Path = SYS_BLOCK) -> list[Path]:
    """Return the loop devices attached to the swapfile of *mountpoint*."""
    swapfile = os.fsencode(swapfile_of(mountpoint))
    return [
        Path("/dev", entry.parent.parent.name)
        for entry in sorted(sys_block.glob("loop*/loop/backing_file"))
        if _read(entry).rstrip(b"\n") == swapfile
    ]


def disk_of(loop: Path, sys_block: Path = SYS_BLOCK) -> Disk | None:
    """Return what the kernel tells of *loop*, None if it has gone."""
    dev, diskseq = (
        _read(sys_block / loop.name / name).decode().rstrip("\n")
        for name in ("dev", "diskseq")
    )
    return Disk(name=loop.name, dev=dev, diskseq=diskseq) if dev else None


def disk_on(mountpoint: Path, sys_block: Path = SYS_BLOCK) -> Disk | None:
    """Return the first of `loops_on`, as the kernel tells of it."""
    disks = (disk_of(loop, sys_block) for loop in loops_on(mountpoint, sys_block))
    return next(filter(None, disks), None)


def _read(path: Path) -> bytes:
    """Return what is in *path*, nothing if it has just gone."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def parse_swaps(text: bytes) -> dict[Path, int]:
    """Return the swaps that *text* lists and the KiB used of each (proc(5), swaps)."""
    # Lines end with \n, columns with blanks: names may have other such characters.
    lines = text.split(b"\n")[1:]
    rows = [re.split(rb"[ \t]+", line) for line in lines if line]
    return {unescaped(name): int(used) for name, _, _, used, *_ in rows}


def _swaps() -> dict[Path, int]:
    return parse_swaps(PROC_SWAPS.read_bytes())


def swaps_on(mountpoint: Path) -> list[Path]:
    """Return those of `loops_on` that are swapped on."""
    swaps = _swaps()
    return [loop for loop in loops_on(mountpoint) if loop in swaps]


def parse_priorities(text: bytes) -> list[tuple[Path, int]]:
    """Return the swaps that *text* lists and the priority of each."""
    rows = [re.split(rb"[ \t]+", line) for line in text.split(b"\n")[1:] if line]
    return [(unescaped(row[0]), int(row[4])) for row in rows]


def swap_priorities() -> list[tuple[Path, int]]:
    """Return every swap of this machine and its priority."""
    return parse_priorities(PROC_SWAPS.read_bytes())


def swap_used(swap: Path) -> int:
    """Return the KiB used of *swap*, 0 if it is no swap any more."""
    return _swaps().get(swap, 0)
