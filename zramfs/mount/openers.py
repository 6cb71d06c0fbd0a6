"""Who has a block device open, as /proc tells.

The kernel counts the openers of a block device and shows the number to nobody. Whoever
mounts it or swaps on it claims it, which a second claim finds out; what is left are the
descriptors of processes.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from zramfs.mount.loop_device import IOCTL_ONLY

PROC: Final = Path("/proc")

_NODES: Final = "/dev/"
"""Only what is open below it is looked at: whoever serves another file could make us
wait, and nodes of block devices are here."""


def open_disks(proc: Path = PROC) -> set[int]:
    """Return the numbers of the block devices that other processes can read or write.

    Those of processes that we may not look into are not among them.
    """
    found: set[int] = set()
    for process in proc.iterdir():
        if process.name.isdecimal() and process.name != str(os.getpid()):
            with suppress(OSError):  # it has ended, or is not ours to look into
                found.update(_disks_of(process))
    return found


def _disks_of(process: Path) -> Iterator[int]:
    for link in (process / "fd").iterdir():
        with suppress(OSError):  # it has been closed
            number = _disk(link, process / "fdinfo" / link.name)
            if number is not None:
                yield number


def _disk(link: Path, info: Path) -> int | None:
    """Return the number of the block device that *link* reads or writes, if one."""
    if not str(link.readlink()).startswith(_NODES):
        return None
    status = link.stat()
    if not stat.S_ISBLK(status.st_mode):
        return None
    lines = info.read_text().splitlines()
    (flags,) = (line.split()[1] for line in lines if line.startswith("flags:"))
    return None if int(flags, 8) & os.O_ACCMODE == IOCTL_ONLY else status.st_rdev
