"""What this machine lets the tests do.

A capability is a name with a probe, which answers None or why not. Any other name
is that of a program, which must be found.
"""

import os
import shutil
import stat
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from tests.integration import cgroups, kernel_zram
from tests.integration.commands import SEARCH_PATH


def _probe_root() -> str | None:
    return None if os.geteuid() == 0 else "not running as root"


def _probe_open(path: str) -> str | None:
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as error:
        return f"{path}: {error.strerror}"
    return None


def _probe_fuse() -> str | None:
    unprivileged = None if os.geteuid() == 0 else missing("fusermount3")
    return _probe_open("/dev/fuse") or unprivileged


def _probe_loop() -> str | None:
    return missing("losetup") or _probe_open("/dev/loop-control")


def _probe_cgroup() -> str | None:
    return _probe_root() or cgroups.why_not()


def _probe_kernel_zram() -> str | None:
    return _probe_root() or kernel_zram.why_not()


def _probe_public_python() -> str | None:
    interpreter = Path(sys.executable).resolve()
    if all(path.stat().st_mode & stat.S_IXOTH for path in interpreter.parents):
        return None
    return f"others may not run {interpreter}"


PROBES: Final[Mapping[str, Callable[[], str | None]]] = {
    "root": _probe_root,
    "fuse": _probe_fuse,
    "loop": _probe_loop,
    "cgroup": _probe_cgroup,
    "kernel-zram": _probe_kernel_zram,
    "public-python": _probe_public_python,
}


@cache
def missing(name: str) -> str | None:
    """Return why the capability *name* is not there, None if it is."""
    if name in PROBES:
        return PROBES[name]()
    if shutil.which(name, path=SEARCH_PATH):
        return None
    return "no such program is installed"


def summary() -> str:
    """Return one line on all of them."""
    states = ((name, missing(name)) for name in PROBES)
    return ", ".join(
        f"{name}: no ({reason})" if reason else f"{name}: yes"
        for name, reason in states
    )
