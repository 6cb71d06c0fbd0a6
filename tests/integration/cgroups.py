"""A memory cgroup for whoever is made to swap: never for the daemon.

Both versions of the controller are known; with version 2, that of the root is
expected to be enabled, as systemd does.
"""

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.integration import teardown

_V1: Final = Path("/sys/fs/cgroup/memory")
_V2: Final = Path("/sys/fs/cgroup")

_LIMIT_FILES: Final = {_V1: "memory.limit_in_bytes", _V2: "memory.max"}

_numbers: Final = itertools.count()


def _controller() -> Path | None:
    if (_V1 / "cgroup.procs").exists():
        return _V1
    try:
        enabled = (_V2 / "cgroup.subtree_control").read_text().split()
    except OSError:
        return None
    return _V2 if "memory" in enabled else None


def why_not() -> str | None:
    """Return why no memory cgroup can be made, None if one can."""
    if _controller() is None:
        return f"no memory controller at {_V1} or {_V2}"
    return None


@contextmanager
def memory_cgroup(limit: int) -> Iterator[Path]:
    """Make a cgroup of *limit* bytes; write a pid to the file that is yielded."""
    controller = _controller()
    # invariant: callers require the capability.
    assert controller, why_not()
    name = f"{teardown.CGROUP_PREFIX}{os.getpid()}-{next(_numbers)}"
    group = controller / name
    with ExitStack() as stack:
        stack.callback(teardown.remove_cgroup, group)
        group.mkdir()
        (group / _LIMIT_FILES[controller]).write_text(str(limit))
        yield group / "cgroup.procs"
