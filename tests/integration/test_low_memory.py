"""Everything within one memory cgroup: the swap, its daemon, and a hog too large.

Swapping on a worker that is at the limit itself hangs, so it leaves that group; or
nothing is swapped on it.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.checklogs import refusals
from tests.conftest import Report
from tests.integration import hog, teardown
from tests.integration.cgroups import memory_cgroup
from tests.integration.commands import (
    ZRAMFS,
    attempt,
    environment,
    run,
    the_sentence,
    zramfs,
)
from tests.integration.mounts import MIB, assert_quiet
from tests.integration.swapping import PRIORITY, turn

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("root", "fuse", "loop", "mkswap", "swapon", "cgroup"),
    pytest.mark.timeout(90),
]

LIMIT: Final = 128 * MIB
HOG: Final = 256 * MIB

_STEP_S: Final = 40.0

_WITHIN: Final = 'echo 0 >"$1"; shift; exec "$@"'
"""Runs a command within a cgroup."""

_SHUT_IN: Final = """
set -e
procs=$1 controller=$2
shift 2
echo 0 >"$procs"
mount --bind "$controller" "$controller"
mount -o remount,bind,ro "$controller"
exec "$@"
"""
"""The same, where no other cgroup can be entered from."""


@pytest.fixture
def mountpoint(place: Path) -> Iterator[Path]:
    """A directory to swap on; nobody else on this machine does meanwhile."""
    path = place / "mnt"
    path.mkdir()
    with turn():
        yield path
        teardown.take_down(place)


@pytest.fixture
def procs() -> Iterator[Path]:
    """Where to enter a memory cgroup that everything is in."""
    with memory_cgroup(LIMIT) as procs:
        yield procs


def _hog(procs: Path, stack: ExitStack) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        [sys.executable, "-S", hog.__file__, str(HOG), procs, "0.5"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.callback(process.wait, _STEP_S)
    stack.callback(process.kill)
    output, _ = process.communicate(timeout=_STEP_S)
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def test_a_hog_within_a_group_of_everything_ends(
    mountpoint: Path, procs: Path, announced: list[str], report: Report
) -> None:
    log = mountpoint.with_name("log")
    options = ("--disksize", "512M", "--priority", PRIORITY, "--log-file", log)
    run("sh", "-c", _WITHIN, "sh", procs, *ZRAMFS, "swapon", mountpoint, *options)
    with ExitStack() as stack:
        done = _hog(procs, stack)
        doctor = attempt(*ZRAMFS, "doctor", mountpoint)
        held = int((mountpoint / "mm_stat").read_text().split()[4])
        worker = (mountpoint / "zramfs/worker_pid").read_text().strip()
        members = procs.read_text().split()
    zramfs("swapoff", mountpoint)

    course = json.loads(done.stdout.splitlines()[-1])
    report(
        f"{HOG // MIB} MiB hog, all within {LIMIT // MIB} MiB: verified in "
        f"{course['verify_s']:.1f} s, {course['wrong']} pages wrong, "
        f"{held / MIB:.0f} MiB held"
    )
    assert (done.returncode, course["wrong"]) == (0, 0)
    assert worker not in members
    assert "memory cgroup: ok" in doctor.stdout
    assert_quiet(log, [*refusals(), *announced])
    assert "moved out of a limited memory cgroup" in log.read_text()


@pytest.mark.requires("unshare")
def test_a_worker_that_cannot_leave_its_group_is_not_swapped_on(
    mountpoint: Path, procs: Path
) -> None:
    done = attempt(
        *("unshare", "--mount", "--propagation=private", "sh", "-c", _SHUT_IN, "sh"),
        *(procs, procs.parents[1], *ZRAMFS, "swapon", mountpoint),
        *("--disksize", "64M", "--log-file", mountpoint.with_name("log")),
    )

    sentence = the_sentence(done, 1)
    assert re.search(r"memory cgroup is refused \(128\.0M for .*start it out", sentence)
    assert "cannot leave" in mountpoint.with_name("log").read_text()
