"""The swap row: a hog in a memory cgroup, swapping on one side or the other.

A swap device that is served by a process can hang the machine. So only the hog is
in the cgroup, never the daemon; every step has a hard timeout; and the taking down
is registered before there is something to take down: the hog is killed first, then
swapped off, detached, unmounted. What does not end aborts the FUSE connection, which
makes everything that waits for the daemon fail.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.commands import ZRAMFS, run
from benchmarks.results import Results
from benchmarks.rows import SWAP_FILL, SWAP_RSS, SWAP_TOUCH, SWAP_VERIFY, SWAP_WRONG
from benchmarks.sides import why_no_zram
from tests.integration import teardown
from tests.integration.capabilities import missing
from tests.integration.cgroups import memory_cgroup
from tests.integration.hog import Course
from tests.integration.kernel_zram import kernel_zram
from tests.integration.swapping import turn

Unstick = Callable[[], None]
"""Makes what waits for the daemon fail."""

_PRIORITY: Final = "32000"  # above all other swap of the machine

_HOG_TIMEOUT_S: Final = 150.0

_SETTLE_S: Final = 15.0
"""Within this the kernel discards the swap that the hog had, and the daemon frees."""

_SETTLED_BYTES: Final = 8 << 20
"""Closer to where it began there is nothing to wait for; its tables do grow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hog:
    """How much there is to swap."""

    length: int
    limit: int
    """What its cgroup may have in memory."""
    disksize: int
    """More than twice the length: of a swap that is more than half full the kernel
    gives up what it has read back, and writes it again."""
    touch_s: float


SIDES: Final = ("always", "zram")
"""The sides that are swapped on."""


def why_not(side: str) -> str | None:
    """Return why *side* cannot be swapped on, None if it can."""
    needs = ("root", "cgroup", "mkswap", "swapon")
    reasons = [missing(need) for need in needs]
    reasons.append(why_no_zram() if side == "zram" else missing("loop"))
    return next(filter(None, reasons), None)


def measure(side: str, hog: Hog, place: Path, results: Results) -> None:
    """Swap on *side*, run the hog once, and add what it found."""
    if side == "zram":
        _measure_zram(hog, results)
    else:
        _measure_zramfs(side, hog, place, results)


@contextmanager
def _swapped_on(device: Path, *options: str, unstick: Unstick) -> Iterator[None]:
    run("mkswap", device)
    with turn():
        try:
            run("swapon", "--priority", _PRIORITY, *options, device)
            yield
        finally:
            teardown.swap_off(device)
            if device in teardown.swaps():
                unstick()
                teardown.swap_off(device)


def _measure_zram(hog: Hog, results: Results) -> None:
    with (
        kernel_zram(str(hog.disksize)) as zram,
        _swapped_on(zram.device, unstick=_do_nothing),
    ):
        _add(results, "zram", _run_hog(hog, _do_nothing))


def _do_nothing() -> None:
    """Unstick a side that is no process."""


def _measure_zramfs(side: str, hog: Hog, place: Path, results: Results) -> None:
    abort = partial(teardown.abort_below, place)
    with _zramfs_swapped_on(place, hog.disksize, "--rw-page", side) as mountpoint:
        pid = int((mountpoint / "zramfs" / "worker_pid").read_text())
        before = _rss(pid)
        course = _run_hog(hog, abort)
        results.add(SWAP_RSS.name, side, _kept(lambda: _rss(pid) - before))
        (loop,) = teardown.loops_below(mountpoint)
        if teardown.swaps().get(loop):
            results.notes.append("something else was swapping during the swap row")
        run(*ZRAMFS, "swapoff", mountpoint, unstick=abort)
    _add(results, side, course)


@contextmanager
def _zramfs_swapped_on(place: Path, size: int, *options: str) -> Iterator[Path]:
    """Let ``zramfs swapon`` swap on a directory in *place*; yield its mountpoint."""
    mountpoint = place / "mnt"
    mountpoint.mkdir(parents=True)
    with turn(), ExitStack() as stack:
        stack.callback(teardown.take_down, place)
        run(
            *(*ZRAMFS, "swapon", mountpoint, "--disksize", str(size)),
            *("--priority", _PRIORITY, *options),
            *("--log-file", place / "log"),
            extra={teardown.MARK: str(place)},
        )
        yield mountpoint


def _add(results: Results, side: str, course: Course) -> None:
    results.add(SWAP_FILL.name, side, course["fill_s"])
    results.add(SWAP_VERIFY.name, side, course["verify_s"])
    results.add(SWAP_TOUCH.name, side, course["touches_per_s"])
    results.add(SWAP_WRONG.name, side, course["wrong"])


def _run_hog(hog: Hog, unstick: Unstick) -> Course:
    with memory_cgroup(hog.limit) as procs:
        text = run(
            *(sys.executable, "-P", "-m", "tests.integration.hog"),
            *(str(hog.length), procs, str(hog.touch_s)),
            timeout_s=_HOG_TIMEOUT_S,
            unstick=unstick,
        )
    course: Course = json.loads(text.splitlines()[-1])
    return course


def _rss(pid: int) -> int:
    """Return the resident set of the daemon, its pool included, in bytes."""
    resident = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(resident) << 12


def _kept(grown: Callable[[], int]) -> int:
    """Return by how much the daemon has *grown* when it has settled."""
    deadline = time.monotonic() + _SETTLE_S
    while (kept := grown()) > _SETTLED_BYTES and time.monotonic() < deadline:
        time.sleep(0.1)
    return max(kept, 0)
