"""Keeping the process that serves a swap device able to serve.

Each measure may be refused; it is then reported, once, and the mount goes on
without it.
"""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

_MCL_CURRENT: Final = 1  # asm-generic/mman.h
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4
_PR_SET_IO_FLUSHER: Final = 57  # linux/prctl.h

IO_FLUSHER_FLAGS: Final = 0x00180000
"""PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE, in field 9 of /proc/PID/task/TID/stat."""

_OOM_SCORE_ADJ_MIN: Final = -1000  # linux/oom.h

_OOM_SCORE_ADJ: Final = Path("/proc/self/oom_score_adj")


class Libc(Protocol):
    """What is used of the C library; -1 is a refusal, with errno set."""

    def mlockall(self, flags: int) -> int:
        """Keep the memory of this process in memory (mlockall(2))."""

    def prctl(self, option: int, *arguments: int) -> int:
        """Change something of this thread (prctl(2))."""


_libc: Final = cast("Libc", ctypes.CDLL(None, use_errno=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure and what became of it."""

    name: str
    refusal: str | None
    """Why it does not hold, None if it does."""
    consequence: str
    """What may happen without it."""

    def __str__(self) -> str:
        if self.refusal is None:
            return f"{self.name}: ok"
        return f"{self.name}: refused ({self.refusal}): {self.consequence}"


def harden(libc: Libc = _libc, oom_score_adj: Path = _OOM_SCORE_ADJ) -> list[Measure]:
    """Take every measure for this process and its threads, and say how it went.

    Call it after the last fork, which memory locks do not survive, and before the
    first thread: a new thread inherits the rest from the one that starts it.
    """
    return [
        Measure(
            name="mlockall",
            refusal=_refusal(lambda: _lock_memory(libc)),
            consequence="the daemon itself may be swapped out; raise 'ulimit -l'",
        ),
        Measure(
            name="PR_SET_IO_FLUSHER",
            refusal=_refusal(lambda: _set_io_flusher(libc)),
            consequence="its allocations may wait for I/O; grant CAP_SYS_RESOURCE",
        ),
        Measure(
            name="oom_score_adj",
            refusal=_refusal(lambda: _lower_oom_score(oom_score_adj)),
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


def _lower_oom_score(oom_score_adj: Path) -> None:
    oom_score_adj.write_text(f"{_OOM_SCORE_ADJ_MIN}\n")
