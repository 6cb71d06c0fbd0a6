"""What this machine must offer before anything can be mounted or swapped on."""

import os
import re
import resource
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from zramfs.mount import cgroups, surroundings
from zramfs.mount.measures import Measure
from zramfs.mount.session import FUSE_DEVICE
from zramfs.units import human_size

_LOOP_CONTROL: Final = Path("/dev/loop-control")

_PROGRAMS: Final[Mapping[str, str]] = {
    "losetup": "mount",
    "mkswap": "util-linux",
    "swapon": "mount",
    "swapoff": "mount",
}
"""What `zramfs swapon` runs, and the Debian package that has it."""

_CAP_IPC_LOCK: Final = 14  # linux/capability.h
_CAP_SYS_ADMIN: Final = 21
_CAP_SYS_RESOURCE: Final = 24

_WORKER_BYTES: Final = 64 << 20
"""About what an empty worker has in memory, all of which it locks."""

_PROC: Final = Path("/proc")


def machine_measures(proc: Path = _PROC) -> list[Measure]:
    """Return what the machine, and whoever asks, lacks or has."""
    capabilities = _capabilities(proc / "self")
    return [
        _fuse(),
        _fusermount(),
        *_loops(),
        *map(_program, _PROGRAMS),
        _capability("swapping", _CAP_SYS_ADMIN, capabilities),
        locking_measure(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0], capabilities),
        Measure(
            name="CAP_SYS_RESOURCE",
            refusal=None if _has(capabilities, _CAP_SYS_RESOURCE) else "not held",
            consequence="a worker's allocations may wait for I/O, and the OOM killer "
            "may choose it; run it with that capability",
        ),
        surroundings.resend_measure(os.uname().release),
        surroundings.zswap_measure(),
        surroundings.cgroup_measure(
            cgroups.memory_groups(proc / "self"),
            # Root leaves it when the worker starts.
            io_flusher=os.geteuid() == 0 or _has(capabilities, _CAP_SYS_RESOURCE),
        ),
        _memory(proc),
    ]


def _opened(path: Path) -> str | None:
    """Return why *path* cannot be opened for reading and writing."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror
    return None


def _fuse() -> Measure:
    return Measure(
        name=FUSE_DEVICE,
        refusal=_opened(Path(FUSE_DEVICE)),
        consequence="nothing can be mounted; 'modprobe fuse', or let this container "
        "have the device",
        essential=True,
    )


def _fusermount() -> Measure:
    path = shutil.which("fusermount3")
    return Measure(
        name="fusermount3",
        refusal=None if path else "not found",
        consequence="only root can mount; install the package fuse3",
        essential=os.geteuid() != 0,
        fact=path or "",
    )


def _loops() -> list[Measure]:
    return [
        Measure(
            name=str(_LOOP_CONTROL),
            refusal=_opened(_LOOP_CONTROL),
            consequence="no loop device, no swap; be root, 'modprobe loop'",
            essential=True,
        )
    ]


def _program(name: str) -> Measure:
    path = shutil.which(name)
    return Measure(
        name=name,
        refusal=None if path else "not found",
        consequence=f"no swap; install the package {_PROGRAMS[name]}",
        essential=True,
        fact=path or "",
    )


def _capabilities(proc: Path) -> int:
    match = re.search(r"^CapEff:\s*(\w+)$", (proc / "status").read_text(), re.MULTILINE)
    # invariant: proc(5) has it since Linux 2.5.
    assert match, "CapEff"
    return int(match[1], 16)


def _has(capabilities: int, number: int) -> bool:
    return bool(capabilities & 1 << number)


def _capability(name: str, number: int, capabilities: int) -> Measure:
    return Measure(
        name=name,
        refusal=None if _has(capabilities, number) else "no CAP_SYS_ADMIN",
        consequence="a mount can be made, but not swapped on; be root",
        essential=True,
        fact="CAP_SYS_ADMIN",
    )


def locking_measure(limit: int, capabilities: int) -> Measure:
    """Return whether a worker with this RLIMIT_MEMLOCK can lock its memory."""
    unlimited = limit == resource.RLIM_INFINITY
    free = unlimited or _has(capabilities, _CAP_IPC_LOCK)
    return Measure(
        name="locking memory",
        # Address space counts, touched or not: only no limit is enough.
        refusal=None if free else f"no more than {human_size(limit)}",
        consequence="the daemon itself may be swapped out, to itself; "
        "'ulimit -l unlimited' or CAP_IPC_LOCK",
        essential=True,
        fact="CAP_IPC_LOCK" if not unlimited else "no limit",
    )


def _memory(proc: Path) -> Measure:
    rows = (proc / "meminfo").read_text().splitlines()
    values = dict(row.split(":", 1) for row in rows)
    available = int(values["MemAvailable"].split()[0]) << 10
    return Measure(
        name="memory",
        refusal=None if available >= _WORKER_BYTES else human_size(available),
        consequence=f"a worker takes about {human_size(_WORKER_BYTES)}; free some",
        fact=f"{human_size(available)} available",
    )
