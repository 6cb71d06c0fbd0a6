"""Whether a mount needs, in order to answer, something that is stored on it."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from zramfs.cli.mounted import worker_pid
from zramfs.mount.loops import PROC_SWAPS, loops_on, parse_swaps
from zramfs.mount.measures import Measure
from zramfs.mount.session import MountPoint, mounts

PROC: Final = Path("/proc")

_SYS_DEV: Final = Path("/sys/dev/block")

_DEPTH: Final = 8
"""More devices than this on top of each other, nobody has."""


def stacking_measure(mountpoint: Path) -> Measure:
    """Return whether the worker's files and the machine's swaps lie elsewhere."""
    table = mounts()
    loops = {loop.name for loop in loops_on(mountpoint)}
    wrong = [
        path
        for path in _needed(mountpoint)
        if _stands_on(mount_of(path, table), mountpoint, loops)
    ]
    return Measure(
        name="own storage",
        refusal=f"{' '.join(map(str, wrong))} lies on it" if wrong else None,
        consequence="what it must read to answer, it has to answer for; move that",
        essential=True,
        fact="nothing that it needs lies on it",
    )


def _needed(mountpoint: Path) -> Iterator[Path]:
    """Yield the files that the worker reads and writes, and those swapped to."""
    # Swap files only: what is swapped on it by a loop device is no file.
    for swap in parse_swaps(PROC_SWAPS.read_bytes()):
        if not swap.is_relative_to("/dev"):
            yield swap
    pid = worker_pid(mountpoint)
    if pid is not None:
        yield from _files_of(PROC / str(pid))


def _files_of(proc: Path) -> Iterator[Path]:
    """Yield the regular files that a process has open or runs."""
    try:
        links = [proc / "exe", *(proc / "fd").iterdir()]
    except OSError:  # somebody else's
        return
    for link in links:
        try:
            target = os.readlink(link)  # noqa: PTH115  # may be no path: socket:[1]
        except OSError:
            continue
        if target.startswith("/") and not re.match(r"/(dev|proc|sys|memfd:)", target):
            yield Path(target)


def mount_of(path: Path, table: Iterable[MountPoint]) -> MountPoint | None:
    """Return the mount of *table* that *path* lies on, without looking at it."""
    found = None
    for mount in table:
        if path.is_relative_to(mount.path) and (
            found is None or len(mount.path.parts) >= len(found.path.parts)
        ):
            found = mount
    return found


def _stands_on(mount: MountPoint | None, mountpoint: Path, loops: set[str]) -> bool:
    if mount is None:
        return False
    return mount.path == mountpoint or bool(disks_under(mount.device) & loops)


def disks_under(device: str, sys_dev: Path = _SYS_DEV, depth: int = _DEPTH) -> set[str]:
    """Return the names of the disks that the block device MAJOR:MINOR stands on."""
    entry = sys_dev / device
    if not entry.exists() or not depth:
        return set()
    directory = entry.resolve()
    names = {directory.name}
    if (directory / "partition").exists():
        names.add(directory.parent.name)
    for slave in (
        (directory / "slaves").iterdir() if (directory / "slaves").is_dir() else ()
    ):
        names |= disks_under((slave / "dev").read_text().strip(), sys_dev, depth - 1)
    return names
