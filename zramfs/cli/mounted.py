"""Reading what a mounted zramfs says of itself."""

import errno
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from zramfs.core.stats import BdStat, IoStat, MmStat
from zramfs.errors import MountRefused
from zramfs.mount.session import zramfs_mounts

_DEAD: Final = frozenset({errno.ENOTCONN, errno.ECONNABORTED})
"""Errors of a FUSE connection that has ended."""


def require_mount(mountpoint: Path) -> None:
    """Raise MountRefused unless a zramfs is mounted on *mountpoint*."""
    if mountpoint not in zramfs_mounts():
        raise MountRefused(f"no zramfs is mounted on {mountpoint}")


def worker_pid(mountpoint: Path) -> int | None:
    """Return the process that serves *mountpoint*, None if it is dead."""
    try:
        return int((mountpoint / "zramfs/worker_pid").read_text())
    except OSError:
        return None


def supervisor_pid(mountpoint: Path) -> int | None:
    """Return the process that restarts the worker of *mountpoint*, if any lives."""
    try:
        return int((mountpoint / "zramfs/supervisor_pid").read_text()) or None
    except OSError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One mount at one moment."""

    mountpoint: Path
    pid: int
    comp_algorithm: str
    disksize: int
    mm_stat: MmStat
    io_stat: IoStat
    bd_stat: BdStat
    backing_dev: str
    spill_stat: dict[str, int]
    """How the backing device does."""

    @property
    def ratio(self) -> float:
        """Bytes stored for each byte of memory; 0 if nothing is."""
        used = self.mm_stat.mem_used_total
        return self.mm_stat.orig_data_size / used if used else 0.0


def read_snapshot(mountpoint: Path) -> Snapshot:
    """Ask the mount on *mountpoint*; MountRefused if it does not answer."""
    require_mount(mountpoint)
    try:
        return _snapshot(mountpoint)
    except OSError as error:
        if error.errno in _DEAD:
            hint = f"'zramfs umount {mountpoint}' removes it"
            raise MountRefused(
                f"{mountpoint} is dead, with all that it held: {hint}"
            ) from error
        reason = error.strerror
        raise MountRefused(f"{mountpoint} does not answer: {reason}") from error


def _snapshot(mountpoint: Path) -> Snapshot:
    def text(name: str) -> str:
        return (mountpoint / name).read_text()

    algorithm = re.search(r"\[(.*)\]", text("comp_algorithm"))
    # invariant: one algorithm is always in brackets.
    assert algorithm, "comp_algorithm"
    return Snapshot(
        mountpoint=mountpoint,
        pid=int(text("zramfs/worker_pid")),
        comp_algorithm=algorithm[1],
        disksize=int(text("disksize")),
        mm_stat=MmStat(**_columns(MmStat, text("mm_stat"))),
        io_stat=IoStat(**_columns(IoStat, text("io_stat"))),
        bd_stat=BdStat(**_columns(BdStat, text("bd_stat"))),
        backing_dev=text("backing_dev").removesuffix("\n"),
        spill_stat=_named(text("zramfs/spill_stat")),
    )


def _named(lines: str) -> dict[str, int]:
    return {name: int(value) for name, value in map(str.split, lines.splitlines())}


def _columns(stat: type[MmStat | IoStat | BdStat], line: str) -> dict[str, int]:
    names = [field.name for field in fields(stat)]
    return dict(zip(names, map(int, line.split()), strict=True))
