"""Whether a worker can be swapped out to itself: what mlockall is essential for.

The kernel is asked to page the worker's own memory out (process_madvise(2)), as it
would when memory is short, while the worker is what it swaps to.
"""

import ctypes
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import Report
from tests.integration import teardown
from tests.integration.commands import ZRAMFS, run
from tests.integration.mounts import MIB
from tests.integration.swapping import PRIORITY, turn
from tests.integration.test_safety import UNLOCKED

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("root", "fuse", "loop", "mkswap", "swapon"),
    pytest.mark.timeout(60),
]

_SYS_PROCESS_MADVISE: Final = 440  # asm-generic/unistd.h, the same everywhere
_MADV_PAGEOUT: Final = 21

_libc: Final = ctypes.CDLL(None, use_errno=True)


def _page_out(pid: int) -> int:
    """Have what *pid* has of its own paged out; return the bytes that may be."""
    process = os.pidfd_open(pid)
    try:
        return sum(_advise(process, *area) for area in _own_memory(pid))
    finally:
        os.close(process)


def _own_memory(pid: int) -> Iterator[tuple[int, int]]:
    """Yield the addresses of memory that no file stands behind."""
    for row in Path(f"/proc/{pid}/maps").read_text().splitlines():
        addresses, rights, _, _, inode, *_ = row.split()
        if rights == "rw-p" and inode == "0":
            start, end = (int(address, 16) for address in addresses.split("-"))
            yield start, end - start


def _advise(process: int, start: int, length: int) -> int:
    vector = ctypes.create_string_buffer(struct.pack("PN", start, length))  # an iovec
    advised: int = _libc.syscall(
        _SYS_PROCESS_MADVISE, process, vector, 1, _MADV_PAGEOUT, 0
    )
    return max(advised, 0)


def _swapped(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    sizes = re.findall(r"VmSwap:\s*(\d+) kB", status)
    return int(sizes[0]) << 10


@contextmanager
def _swapped_on(place: Path, *prefix: str) -> Iterator[int]:
    """Swap on a worker, whatever it lacks, and yield its pid."""
    path = place / "mnt"
    path.mkdir()
    with turn():
        try:
            options = ("--disksize", "256M", "--force", "--priority", PRIORITY)
            command: tuple[str | Path, ...] = (
                *prefix,
                *ZRAMFS,
                "swapon",
                path,
                *options,
            )
            run(*command, "--log-file", place / "log")
            yield int((path / "zramfs/worker_pid").read_text())
        finally:
            if prefix:  # it may wait for itself by now, and swapoff for it
                teardown.abort_below(place)
            teardown.take_down(place)
    assert teardown.leftovers(place) == []


def test_a_locked_worker_cannot_be_swapped_out(place: Path) -> None:
    with _swapped_on(place) as pid:
        advised = _page_out(pid)
        swapped = _swapped(pid)

    assert (advised, swapped) == (0, 0)


@pytest.mark.requires("setpriv", "prlimit")
def test_a_worker_that_is_not_locked_is_swapped_out_to_itself(
    place: Path, report: Report
) -> None:
    with _swapped_on(place, *UNLOCKED) as pid:
        _page_out(pid)
        swapped = _swapped(pid)

    report(f"without mlockall {swapped / MIB:.0f} MiB of the worker go to itself")
    assert swapped > MIB
