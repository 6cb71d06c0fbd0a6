"""Which loop devices and swaps stand on a mount, as the kernel tells."""

import os
from pathlib import Path
from typing import Final

from zramfs.mount.tree import SWAPFILE

_SYS_BLOCK: Final = Path("/sys/block")
_PROC_SWAPS: Final = Path("/proc/swaps")


def swapfile_of(mountpoint: Path) -> Path:
    """Return the swapfile of the mount on *mountpoint*."""
    return mountpoint / os.fsdecode(SWAPFILE)


def loops_on(mountpoint: Path) -> list[Path]:
    """Return the loop devices attached to the swapfile of *mountpoint*."""
    swapfile = os.fsencode(swapfile_of(mountpoint))
    return [
        Path("/dev", entry.parent.parent.name)
        for entry in sorted(_SYS_BLOCK.glob("loop*/loop/backing_file"))
        if _read(entry).rstrip(b"\n") == swapfile
    ]


def _read(path: Path) -> bytes:
    """Return what is in *path*, nothing if it has just gone."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _swaps() -> dict[Path, int]:
    """Return the swaps of the system and the KiB used of each (proc(5), swaps)."""
    lines = _PROC_SWAPS.read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return {Path(row[0]): int(row[3]) for row in rows}


def swaps_on(mountpoint: Path) -> list[Path]:
    """Return those of `loops_on` that are swapped on."""
    swaps = _swaps()
    return [loop for loop in loops_on(mountpoint) if loop in swaps]


def swap_used(swap: Path) -> int:
    """Return the KiB used of *swap*, 0 if it is no swap any more."""
    return _swaps().get(swap, 0)
