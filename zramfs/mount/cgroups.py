"""How much memory the control groups of a process leave it.

Both versions of the controller: /proc/PID/cgroup names the group, and each group
above it may have a limit as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CGROUP_ROOT: Final = Path("/sys/fs/cgroup")

_PROC_SELF: Final = Path("/proc/self")

_NO_LIMIT_V1: Final = 1 << 60
"""Version 1 shows no limit as the most that a long holds, in whole pages."""

_CACHE_KEYS: Final = ("total_inactive_file", "inactive_file")
"""What memory.stat calls the page cache that goes first; version 1 has both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryGroup:
    """One group that may have a limit."""

    path: Path
    version: int

    @property
    def limit(self) -> int | None:
        """Most bytes that the group may have in memory, None if any."""
        name = "memory.limit_in_bytes" if self.version == 1 else "memory.max"
        text = _text(self.path / name)
        if not text or text == "max" or int(text) >= _NO_LIMIT_V1:
            return None
        return int(text)

    @property
    def available(self) -> int | None:
        """Bytes that it may still take: what is free, and cache; None if any."""
        limit = self.limit
        if limit is None:
            return None
        name = "memory.usage_in_bytes" if self.version == 1 else "memory.current"
        used = int(_text(self.path / name) or 0)
        return max(0, limit - used + self._cache())

    def _cache(self) -> int:
        rows = _text(self.path / "memory.stat").splitlines()
        stat = dict(row.split(" ", 1) for row in rows)
        return next((int(stat[key]) for key in _CACHE_KEYS if key in stat), 0)


def _text(path: Path) -> str:
    """Return what is in *path*; nothing if the file, or the group, is not there."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def memory_groups(
    proc: Path = _PROC_SELF, root: Path = CGROUP_ROOT
) -> list[MemoryGroup]:
    """Return the memory groups of *proc*, the innermost first; none at the top.

    Within a container the names are those outside, and what is mounted is its own
    group: names that are not there are left out.
    """
    groups = []
    for version, top, path in _memberships(proc, root):
        name = path
        while name not in (Path(), Path("/")):
            groups.append(MemoryGroup(path=top / name, version=version))
            name = name.parent
        groups.append(MemoryGroup(path=top, version=version))
    return [group for group in groups if group.path.is_dir()]


def _memberships(proc: Path, root: Path) -> Iterator[tuple[int, Path, Path]]:
    for line in _text(proc / "cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        path = Path(name.lstrip("/"))
        if "memory" in controllers.split(","):
            yield 1, root / "memory", path
        elif not controllers and (root / "cgroup.controllers").exists():
            yield 2, root, path


def tightest(groups: list[MemoryGroup]) -> MemoryGroup | None:
    """Return the group with the lowest limit, None if none has one."""
    limited = [group for group in groups if group.limit is not None]
    return min(limited, key=lambda group: group.limit or 0, default=None)


def leave_limits(groups: list[MemoryGroup]) -> MemoryGroup | None:
    """Move this process to the nearest group that no limit holds for; return it.

    None if there is no need, or no such group; OSError if it may not. The kernel's
    own zram is charged to no group either.
    """
    if tightest(groups) is None:
        return None
    for number, group in enumerate(groups):
        if tightest(groups[number:]) is None:
            (group.path / "cgroup.procs").write_text("0")  # 0 is whoever writes it
            return group
    return None
