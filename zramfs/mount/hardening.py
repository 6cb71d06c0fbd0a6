"""Keeping the process that serves a swap device able to serve.

Each measure may be refused; it is then reported, and the mount goes on without it.
What was granted is not believed either: `verified` looks at what the kernel shows.
"""

import ctypes
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol, cast

from zramfs.mount.measures import Measure
from zramfs.units import human_size

_MCL_CURRENT: Final = 1  # asm-generic/mman.h
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4
_PR_SET_IO_FLUSHER: Final = 57  # linux/prctl.h

IO_FLUSHER: Final = "PR_SET_IO_FLUSHER"

IO_FLUSHER_FLAGS: Final = 0x00180000
"""PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE, in field 9 of /proc/PID/task/TID/stat."""

_OOM_SCORE_ADJ_MIN: Final = -1000  # linux/oom.h

_PROC_SELF: Final = Path("/proc/self")


class Libc(Protocol):
    """What is used of the C library; -1 is a refusal, with errno set."""

    def mlockall(self, flags: int) -> int:
        """Keep the memory of this process in memory (mlockall(2))."""

    def prctl(self, option: int, *arguments: int) -> int:
        """Change something of this thread (prctl(2))."""


_libc: Final = cast("Libc", ctypes.CDLL(None, use_errno=True))


def harden(libc: Libc = _libc, proc: Path = _PROC_SELF) -> list[Measure]:
    """Take every measure for this process and its threads, and say how it went.

    Call it after the last fork, which memory locks do not survive, and before the
    first thread: a new thread inherits the rest from the one that starts it.
    """
    return [
        Measure(
            name="mlockall",
            refusal=_refusal(lambda: _lock_memory(libc)),
            consequence="the daemon itself may be swapped out, to itself; "
            "raise 'ulimit -l' or grant CAP_IPC_LOCK",
            essential=True,
        ),
        Measure(
            name=IO_FLUSHER,
            refusal=_refusal(lambda: _set_io_flusher(libc)),
            consequence="its allocations may wait for I/O; grant CAP_SYS_RESOURCE",
        ),
        Measure(
            name="oom_score_adj",
            refusal=_refusal(lambda: _lower_oom_score(proc)),
            consequence="the OOM killer may choose it; grant CAP_SYS_RESOURCE",
        ),
    ]


def _refusal(measure: Callable[[], None]) -> str | None:
    try:
        measure()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _lock_memory(libc: Libc) -> None:
    # ONFAULT: lock what is touched. The pool's address space is terabytes.
    _check(libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT))


def _set_io_flusher(libc: Libc) -> None:
    _check(libc.prctl(_PR_SET_IO_FLUSHER, 1, 0, 0, 0))


def _lower_oom_score(proc: Path) -> None:
    (proc / "oom_score_adj").write_text(f"{_OOM_SCORE_ADJ_MIN}\n")


def verified(taken: Iterable[Measure], proc: Path = _PROC_SELF) -> list[Measure]:
    """Return the measures *taken* as the kernel shows them now for *proc*.

    One that was refused holds all the same if whoever started this process, a
    service manager say, had seen to it.
    """
    return [_verified(measure, _SHOWN[measure.name], proc) for measure in taken]


def _verified(
    measure: Measure, shown: Callable[[Path], tuple[bool, str]], proc: Path
) -> Measure:
    holds, fact = shown(proc)
    refusal = None if holds else measure.refusal or f"granted, but {fact}"
    return Measure(
        name=measure.name,
        refusal=refusal,
        consequence=measure.consequence,
        essential=measure.essential,
        fact=fact if holds else "",
    )


def shown_lock(proc: Path) -> tuple[bool, str]:
    """Whether all that is in memory is locked there, and nothing is swapped out."""
    sizes = status_sizes(proc)
    resident, locked, swapped = (
        sizes.get(name, 0) for name in ("VmRSS", "VmLck", "VmSwap")
    )
    if swapped:
        return False, f"{human_size(swapped)} of it is swapped out"
    # VmLck counts addresses, touched or not: less than what is resident is not all.
    if locked < resident:
        return False, f"{human_size(locked)} of {human_size(resident)} is locked"
    return True, f"{human_size(resident)} in memory, all of it locked"


def status_sizes(proc: Path) -> Mapping[str, int]:
    """Return the sizes that /proc/PID/status shows, in bytes."""
    rows = (line.partition(":") for line in (proc / "status").read_text().splitlines())
    return {
        name: int(value.split()[0]) << 10
        for name, _, value in rows
        if value.endswith(" kB")
    }


def _shown_io_flusher(proc: Path) -> tuple[bool, str]:
    threads = [_flags(task) for task in (proc / "task").iterdir()]
    without = sum(flags & IO_FLUSHER_FLAGS != IO_FLUSHER_FLAGS for flags in threads)
    if without:
        return False, f"{without} of {len(threads)} threads are without it"
    return True, f"{len(threads)} of {len(threads)} threads"


def _flags(task: Path) -> int:
    """Return field 9 of a thread's stat (proc(5)); all flags if it has just ended."""
    try:
        stat = (task / "stat").read_text()
    except OSError:
        return IO_FLUSHER_FLAGS
    # The second field, the name, is in parentheses and may hold anything.
    return int(stat.rpartition(") ")[2].split()[6])


def _shown_oom_score(proc: Path) -> tuple[bool, str]:
    score = int((proc / "oom_score_adj").read_text())
    return score == _OOM_SCORE_ADJ_MIN, f"it is {score}"


_SHOWN: Final[Mapping[str, Callable[[Path], tuple[bool, str]]]] = {
    "mlockall": shown_lock,
    IO_FLUSHER: _shown_io_flusher,
    "oom_score_adj": _shown_oom_score,
}
