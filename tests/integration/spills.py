"""Backing devices of a mount: what it counts of them, and one that can be held up."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.integration import teardown
from tests.integration.files import opened
from tests.integration.mounts import MIB, PAGE_SIZE, Mount

_HELD: Final = Path(__file__).with_name("held_file.py")


def with_file(spill: Path, *options: str) -> tuple[str, ...]:
    """Return the options for 16 MiB of pages, half of which *spill* has room for."""
    return (
        *("--disksize", "16M", "--backing-dev", str(spill)),
        *("--backing-size", "8M", *options),
    )


def bd_stat(mount: Mount) -> tuple[int, ...]:
    """Return bd_count, bd_reads and bd_writes."""
    return tuple(map(int, mount.show("bd_stat").split()))


def write_back_all(mount: Mount) -> None:
    """Write back all pages that have memory."""
    mount.store("idle", "all")
    mount.store("writeback", "idle")


def read(mount: Mount, index: int, nr_pages: int = 1) -> bytes:
    """Return some pages, read at once."""
    with opened(mount.swapfile, os.O_RDONLY) as fd:
        return os.pread(fd, nr_pages * PAGE_SIZE, index * PAGE_SIZE)


@contextmanager
def held_file(place: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a file of 8 MiB, and the file that holds up its reads and writes.

    That one is removed at the end, whatever has happened: nothing waits for ever.
    """
    mountpoint, hold, ready = place / "held", place / "hold", place / "ready"
    mountpoint.mkdir()
    words = [sys.executable, _HELD, mountpoint, str(8 * MIB), hold, ready]
    process = subprocess.Popen([str(word) for word in words])
    try:
        assert teardown.wait_until(ready.exists)
        yield mountpoint / "spill", hold
    finally:
        hold.unlink(missing_ok=True)
        subprocess.run(["umount", "--lazy", mountpoint], check=False)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
