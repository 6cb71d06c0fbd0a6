"""The C library's heap: requests must not give their memory back to the system.

What a large request needs, a MiB of pages and as much of objects, comes from mmap(2)
each time unless malloc is told otherwise, which is hundreds of page faults: 7 % of the
time of a write of 1 MiB. Each is also an allocation that may have to wait.
"""

import ctypes
from typing import Final, Protocol, cast

_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3

_FROM_HEAP: Final = 4 << 20
"""Bytes up to which memory is the heap's: more than any one allocation of a request."""

_KEPT: Final = 3 << 20
"""Bytes at the end of the heap that are kept."""


class Libc(Protocol):
    """What is used of the C library."""

    def mallopt(self, parameter: int, value: int) -> int:
        """Set a parameter of malloc (mallopt(3)); 0 if there is no such thing."""


_libc: Final = cast("Libc", ctypes.CDLL(None))


def keep_heap(libc: Libc = _libc) -> None:
    """Let malloc keep what requests need; where it is not glibc's, all is as it was."""
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _FROM_HEAP)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)
