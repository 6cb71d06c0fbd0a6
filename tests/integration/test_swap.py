"""Swapping on it: every page comes back, and a failure leaves all as it was.

What is made to swap sits in a memory cgroup; the daemon never does.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import Report
from tests.integration import hog, teardown
from tests.integration.cgroups import memory_cgroup
from tests.integration.commands import environment, refused, run, zramfs
from tests.integration.kernel_zram import kernel_zram
from tests.integration.mounts import MIB, Mount, assert_quiet
from tests.integration.stats import MmStat

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("root", "fuse", "loop", "mkswap", "swapon"),
    pytest.mark.timeout(240),
]

HOG_BYTES: Final = 512 * MIB
CGROUP_BYTES: Final = 128 * MIB

_STEP_S: Final = 100.0
_PRIORITY: Final = "32000"  # above all other swap of the machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """A zramfs that `zramfs swapon` made."""

    mount: Mount
    device: Path


@pytest.fixture
def swap(
    place: Path, data_path: tuple[str, ...], announced: list[str]
) -> Iterator[Swap]:
    """Swap on a zramfs of 1 GiB; it is for the test to swap off."""
    path = place / "mnt"
    path.mkdir()
    log = place / "log"
    options = ("--disksize", "1G", "--log-file", str(log), *data_path)
    with ExitStack() as stack:
        stack.callback(teardown.take_down, path)
        zramfs("swapon", path, "--priority", _PRIORITY, *options)
        (device,) = teardown.loops_below(path)
        yield Swap(mount=Mount(path=path, log=log), device=device)
        assert teardown.leftovers(place) == []
    assert_quiet(log, announced)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a hog fared."""

    fill_s: float
    verify_s: float
    wrong: int
    filled: MmStat
    """The device when the hog had filled its memory."""


def _run_hog(mm_stat: Callable[[], MmStat]) -> Course:
    with memory_cgroup(CGROUP_BYTES) as procs, ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, "-S", hog.__file__, str(HOG_BYTES), procs],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(process.wait, _STEP_S)
        stack.callback(process.kill)
        assert process.stdin
        assert process.stdout
        figures: dict[str, float] = json.loads(process.stdout.readline())
        filled = mm_stat()
        rest, _ = process.communicate("\n", timeout=_STEP_S)
        figures |= json.loads(rest)
        return Course(
            fill_s=figures["fill_s"],
            verify_s=figures["verify_s"],
            wrong=int(figures["wrong"]),
            filled=filled,
        )


def _on_kernel_zram() -> Course:
    with kernel_zram("1G") as zram:
        run("mkswap", zram.device)
        run("swapon", "--priority", _PRIORITY, zram.device)
        return _run_hog(zram.mm_stat)


def _line(name: str, course: Course) -> str:
    return (
        f"512 MiB hog in 128 MiB, {name}: filled in {course.fill_s:.1f} s, "
        f"verified in {course.verify_s:.1f} s, {course.wrong} pages wrong; "
        f"{course.filled.orig_data_size / MIB:.0f} MiB swapped out "
        f"to {course.filled.mem_used_total / MIB:.0f} MiB"
    )


@pytest.mark.requires("cgroup")
def test_a_hog_finds_every_page_as_it_was(swap: Swap, report: Report) -> None:
    course = _run_hog(swap.mount.mm_stat)
    failed = swap.mount.io_stat()
    zramfs("swapoff", swap.mount.path)

    report(_line("zramfs     ", course))
    assert course.wrong == 0
    assert course.filled.orig_data_size >= HOG_BYTES // 2
    assert (failed.failed_reads, failed.failed_writes) == (0, 0)


@pytest.mark.requires("cgroup", "kernel-zram")
def test_the_same_hog_on_the_kernels_zram(report: Report) -> None:
    course = _on_kernel_zram()

    report(_line("kernel zram", course))
    assert course.wrong == 0
    assert course.filled.orig_data_size >= HOG_BYTES // 2


def test_swapon_swaps_on_a_direct_loop_device_of_whole_pages(swap: Swap) -> None:
    used = teardown.swaps()
    block = Path("/sys/block", swap.device.name)
    direct = (block / "loop/dio").read_text()
    sector = (block / "queue/logical_block_size").read_text()
    zramfs("swapoff", swap.mount.path)

    assert used[swap.device] == 0
    assert (direct, sector) == ("1\n", "4096\n")


def test_swapoff_that_fails_leaves_all_as_it_was(swap: Swap, place: Path) -> None:
    tools = place / "bin"
    tools.mkdir()
    (tools / "swapoff").write_text("#!/bin/sh\necho Cannot allocate >&2\nexit 1\n")
    (tools / "swapoff").chmod(0o755)

    sentence = refused(
        *("swapoff", swap.mount.path),
        extra={"PATH": f"{tools}:{environment()['PATH']}"},
    )
    swaps = teardown.swaps()
    loops = teardown.loops_below(swap.mount.path)
    shown = swap.mount.show("initstate")
    zramfs("swapoff", swap.mount.path)

    assert sentence == "zramfs: swapoff: Cannot allocate"
    assert swap.device in swaps
    assert (loops, shown) == ([swap.device], "1\n")


def test_umount_refuses_while_swapped_on(swap: Swap) -> None:
    sentence = refused("umount", swap.mount.path)
    swaps = teardown.swaps()
    zramfs("swapoff", swap.mount.path)

    assert "swapoff" in sentence
    assert swap.device in swaps


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_ignored_while_swapped_on(
    swap: Swap, announced: list[str], number: signal.Signals
) -> None:
    announced.append(f"WARNING: {number.name} ignored: .* is attached")

    os.kill(swap.mount.pid, number)
    shown = swap.mount.show("initstate")
    swaps = teardown.swaps()
    zramfs("swapoff", swap.mount.path)

    assert shown == "1\n"
    assert swap.device in swaps
    assert f"{number.name} ignored" in swap.mount.log.read_text()


def test_swapoff_of_a_mount_without_swap_unmounts_it(
    place: Path, data_path: tuple[str, ...]
) -> None:
    path = place / "mnt"
    path.mkdir()
    zramfs("mount", path, "--disksize", "64M", *data_path)

    zramfs("swapoff", path)

    assert teardown.leftovers(place) == []


def test_swapoff_of_nothing_is_refused(place: Path) -> None:
    sentence = refused("swapoff", place)

    assert str(place) in sentence


def test_swapon_without_a_disksize_is_refused(place: Path) -> None:
    (place / "mnt").mkdir()

    sentence = refused("swapon", place / "mnt")

    assert "--disksize" in sentence
    assert teardown.leftovers(place) == []
