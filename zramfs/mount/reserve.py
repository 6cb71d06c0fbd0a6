"""Memory held back for the moment when there is none, and who may still have some.

The pool asks before it grows (`Reserve.admit`). As long as there is plenty it gets
what it wants. When there is little, the reserve is given back to the system at once,
so that requests under way and the pages of the next moments still find memory. When
there is none at all the pool may not grow: the writer gets EIO, while reads, discards
and pages that fit into holes go on. Taking memory then would make the kernel choose
somebody to kill, or make this process wait for what it is itself to swap out.
"""

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from zramfs.mount.cgroups import MemoryGroup, memory_groups
from zramfs.mount.measures import Measure
from zramfs.units import human_size

RESERVE_BYTES: Final = 8 << 20

LOW: Final = 2 * RESERVE_BYTES
"""With less than this available the reserve is given back."""

FLOOR: Final = 1 << 20
"""With less than this the pool may not grow."""

_PLENTY: Final = 1 << 30

_GRANT: Final = 64
"""Pages by which a pool may grow before it asks again: a quarter of FLOOR."""

_GRANT_OF_PLENTY: Final = 4096
"""Asking takes about 15 us, storing so many pages 30 ms at the least."""

_GROUPS_S: Final = 10.0
"""How long what is known of groups holds: a process may be moved, or limited."""

_MEMINFO: Final = Path("/proc/meminfo")

_MIN_FREE: Final = Path("/proc/sys/vm/min_free_kbytes")


class SystemMemory:
    """Bytes that this process may still take without anybody being killed for it."""

    __slots__ = ("_find_groups", "_groups", "_looked_up_s", "_meminfo", "_min_free")

    def __init__(
        self,
        meminfo: Path = _MEMINFO,
        min_free: Path = _MIN_FREE,
        groups: Callable[[], list[MemoryGroup]] = memory_groups,
    ) -> None:
        # Kept open: opening takes memory, and most of the time.
        self._meminfo = os.open(meminfo, os.O_RDONLY | os.O_CLOEXEC)
        self._min_free = int(min_free.read_text()) << 10
        self._find_groups = groups
        self._groups: list[MemoryGroup] = []
        self._looked_up_s = float("-inf")

    def close(self) -> None:
        """Look no more."""
        os.close(self._meminfo)

    def available(self) -> int:
        """Return what the machine and every group of this process have left.

        While the machine swaps, little of its memory is said to be available, and
        it is kept so that some is free: either will do.
        """
        text = os.pread(self._meminfo, 4096, 0)
        free = _kilobytes(text, b"MemFree:") - self._min_free
        now_s = time.monotonic()
        if now_s - self._looked_up_s > _GROUPS_S:
            self._looked_up_s = now_s
            self._groups = [g for g in self._find_groups() if g.limit is not None]
        bounds = [max(free, _kilobytes(text, b"MemAvailable:"))]
        bounds += [
            left for group in self._groups if (left := group.available) is not None
        ]
        return max(0, min(bounds))


def _kilobytes(meminfo: bytes, name: bytes) -> int:
    start = meminfo.index(name) + len(name)
    return int(meminfo[start : meminfo.index(b"kB", start)]) << 10


class Reserve:
    """A few MiB of locked memory, and the gate before the pool."""

    __slots__ = ("_available", "_memory", "nr_refused")

    def __init__(self, available: Callable[[], int]) -> None:
        self._available = available
        self._memory: mmap.mmap | None = None
        self.nr_refused = 0
        """How often the pool was not to grow."""
        self.refill()

    @property
    def is_held(self) -> bool:
        """Whether the memory is here, not given back."""
        return self._memory is not None

    def refill(self) -> None:
        """Take the memory if there is some to spare."""
        if self._memory or self._available() < LOW + RESERVE_BYTES:
            return
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._memory = mmap.mmap(-1, RESERVE_BYTES, flags=flags)
        # Touched, and locked by that: see mlockall in `harden`. Not zeros, which
        # the kernel may share among processes.
        for offset in range(0, RESERVE_BYTES, mmap.PAGESIZE):
            self._memory[offset] = 1

    def release(self) -> None:
        """Give the memory back."""
        if self._memory:
            self._memory.close()
            self._memory = None

    def admit(self, nr_pages: int) -> int:
        """Return how many pages a pool that wants *nr_pages* may hold for now."""
        available = self._available()
        if available < LOW and self._memory:
            self.release()
            available += RESERVE_BYTES
        if available < FLOOR:
            self.nr_refused += 1
            return 0
        return nr_pages + (_GRANT_OF_PLENTY if available >= _PLENTY else _GRANT)

    def measure(self) -> Measure:
        """Return whether it is held."""
        left = human_size(self._available())
        return Measure(
            name="reserve",
            refusal=None if self._memory else f"given back, {left} available",
            consequence=f"{self.nr_refused} times the pool could not grow, and writes "
            "failed; free memory",
            fact=f"{human_size(RESERVE_BYTES)} held, {left} available, "
            f"{self.nr_refused} refused",
        )
