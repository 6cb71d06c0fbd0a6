"""Swapping on zramfs, in the one way in which a test may: with nothing at risk.

What is made to swap sits in a memory cgroup, the daemon never does; every step has
a hard timeout; and what takes it all down is registered before there is anything.
"""

import fcntl
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.integration import teardown
from tests.integration.cgroups import memory_cgroup
from tests.integration.commands import environment, zramfs
from tests.integration.hog import Course
from tests.integration.mounts import MIB, Mount, assert_quiet
from tests.integration.stats import MmStat

PRIORITY: Final = "32000"
"""Above all other swap of the machine."""

_HOG: Final = Path(__file__).with_name("hog.py")

_STEP_S: Final = 100.0

_TURN: Final = Path("/run/zramfs-test-swap.lock")


@contextmanager
def turn() -> Iterator[None]:
    """Wait until no other test on this machine swaps, and let none begin.

    Swaps of the same priority are filled in turns, whoever's hog it is: sizes and
    times would be of both.
    """
    with _TURN.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """A zramfs that `zramfs swapon` made."""

    mount: Mount
    device: Path


@contextmanager
def swapped_on(
    place: Path, disksize: str, data_path: tuple[str, ...], announced: list[str]
) -> Iterator[Swap]:
    """Swap on a zramfs below *place*; it is for the test to swap off."""
    path = place / "mnt"
    path.mkdir()
    log = place / "log"
    options = ("--disksize", disksize, "--log-file", str(log), *data_path)
    with turn(), ExitStack() as stack:
        stack.callback(teardown.take_down, path)
        zramfs("swapon", path, "--priority", PRIORITY, *options)
        (device,) = teardown.loops_below(path)
        yield Swap(mount=Mount(path=path, log=log), device=device)
        assert teardown.leftovers(place) == []
    assert_quiet(log, announced)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hog:
    """What is to be swapped."""

    length: int
    limit: int
    """What its cgroup may have in memory."""
    touch_s: float

    def run(self, mm_stat: Callable[[], MmStat]) -> "Run":
        """Fill, look at *mm_stat*, verify, touch."""
        with memory_cgroup(self.limit) as procs, ExitStack() as stack:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-S", _HOG),
                    *(str(self.length), procs, str(self.touch_s)),
                ],
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.wait, _STEP_S)
            stack.callback(process.kill)
            assert process.stdout
            first = process.stdout.readline()
            filled = mm_stat()
            last, _ = process.communicate("\n", timeout=_STEP_S)
            assert last, f"the hog was killed after {first!r}"
            return Run(hog=self, filled=filled, course=json.loads(last))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a hog fared."""

    hog: Hog
    course: Course
    filled: MmStat
    """The device when the hog had filled its memory."""

    def line(self, name: str) -> str:
        """Return a line for the report."""
        length, limit = self.hog.length // MIB, self.hog.limit // MIB
        course, filled = self.course, self.filled
        return (
            f"{length} MiB hog in {limit} MiB, {name}: "
            f"filled in {course['fill_s']:.1f} s, "
            f"verified in {course['verify_s']:.1f} s, "
            f"{course['touches_per_s'] / 1000:.1f}k touches a second, "
            f"{course['wrong']} pages wrong; {filled.orig_data_size / MIB:.0f} MiB "
            f"swapped out to {filled.mem_used_total / MIB:.0f} MiB"
        )
