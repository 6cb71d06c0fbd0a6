"""What around a mount makes swapping on it safe or not: measures that others take.

Everything is read from /proc and /sys. No path of a filesystem that may stand on
the mount is looked at: its worker calls this, and would wait for itself.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from zramfs.mount import loops
from zramfs.mount.cgroups import MemoryGroup, tightest
from zramfs.mount.measures import Measure
from zramfs.units import PAGE_SIZE, human_size

_RESEND_SINCE: Final = (6, 9)
"""Linux that has FUSE_NOTIFY_RESEND."""

_ZSWAP: Final = Path("/sys/module/zswap/parameters/enabled")


def loop_measures(mountpoint: Path, sys_block: Path = loops.SYS_BLOCK) -> list[Measure]:
    """Return how each loop device on *mountpoint* is attached."""
    return [
        measure
        for loop in loops.loops_on(mountpoint, sys_block)
        for measure in _loop_measures(loop.name, sys_block / loop.name)
    ]


def _loop_measures(name: str, block: Path) -> list[Measure]:
    direct = (block / "loop/dio").read_text().strip() == "1"
    sector = int((block / "queue/logical_block_size").read_text())
    return [
        Measure(
            name=f"{name} direct I/O",
            refusal=None if direct else "the page cache is between",
            consequence="each page swapped out takes another page; "
            f"'losetup --direct-io=on /dev/{name}'",
            essential=True,
        ),
        Measure(
            name=f"{name} sectors",
            refusal=None if sector == PAGE_SIZE else f"{sector} bytes",
            consequence="parts of pages may be asked for; attach it with "
            f"'--sector-size {PAGE_SIZE}'",
            fact=f"{sector} bytes",
        ),
    ]


def cgroup_measure(groups: list[MemoryGroup], *, io_flusher: bool) -> Measure:
    """Return whether the memory *groups* of a worker limit it.

    At the limit an allocation writes pages to swap, and waits until they are
    written: a worker without PR_SET_IO_FLUSHER then waits for itself.
    """
    group = tightest(groups)
    if group is None:
        return Measure(name="memory cgroup", fact="no limit")
    return Measure(
        name="memory cgroup",
        refusal=f"{human_size(group.limit or 0)} for {group.path}",
        consequence="at that limit it waits for what it is to write itself; "
        "start it outside of that group",
        essential=not io_flusher,
    )


def resend_measure(release: str) -> Measure:
    """Return whether Linux *release* can ask again what a dead worker was asked."""
    match = re.match(r"(\d+)\.(\d+)", release)
    known = match is not None and (int(match[1]), int(match[2])) >= _RESEND_SINCE
    return Measure(
        name="FUSE_NOTIFY_RESEND",
        refusal=None if known else f"Linux {release} is older than 6.9",
        consequence="when the worker dies, what is swapped out is lost",
        fact=f"Linux {release}",
    )


def supervisor_measure(pid: int) -> Measure:
    """Return whether process *pid*, 0 if it is dead, restarts the worker."""
    return Measure(
        name="supervisor",
        refusal=None if pid else "it has died",
        consequence="if the worker dies, too, what is swapped out is lost; swap off",
        fact=f"process {pid}",
    )


def zswap_measure(enabled: Path = _ZSWAP) -> Measure:
    """Return whether pages come here without having been compressed already."""
    try:
        on = enabled.read_text().strip() == "Y"
    except OSError:
        on = False
    return Measure(
        name="zswap",
        refusal="it is on" if on else None,
        consequence=f"pages are compressed twice; 'echo N >{enabled}'",
        fact="off",
    )


def priority_measure(
    swaps: Iterable[tuple[Path, int]], mine: Iterable[Path]
) -> Measure:
    """Return whether *mine* are swapped to before any other of *swaps*.

    *swaps* are paths and priorities.
    """
    ours = set(mine)
    rows = list(swaps)
    best = max((priority for path, priority in rows if path in ours), default=None)
    others = [
        str(path)
        for path, priority in rows
        if path not in ours and best is not None and priority >= best
    ]
    return Measure(
        name="swap priority",
        refusal=f"{' '.join(others)} has the same or a higher one" if others else None,
        consequence="pages go there first; 'zramfs swapon --priority 100'",
        fact="not swapped on" if best is None else str(best),
    )
