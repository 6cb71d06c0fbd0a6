"""Swapping on it: every page comes back, and a failure leaves all as it was.

What is made to swap sits in a memory cgroup; the daemon never does.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import Report
from tests.integration import teardown
from tests.integration.commands import environment, refused, run, zramfs
from tests.integration.kernel_zram import kernel_zram
from tests.integration.mounts import MIB
from tests.integration.swapping import PRIORITY, Hog, Run, Swap, swapped_on, turn

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("root", "fuse", "loop", "mkswap", "swapon"),
    pytest.mark.timeout(240),
]

HOG: Final = Hog(length=512 * MIB, limit=128 * MIB, touch_s=1)


@pytest.fixture
def swap(
    place: Path, data_path: tuple[str, ...], announced: list[str]
) -> Iterator[Swap]:
    """Swap on a zramfs of 1 GiB; it is for the test to swap off."""
    with swapped_on(place, "1G", data_path, announced) as swap:
        yield swap


def _on_kernel_zram() -> Run:
    with turn(), kernel_zram("1G") as zram:
        run("mkswap", zram.device)
        run("swapon", "--priority", PRIORITY, zram.device)
        return HOG.run(zram.mm_stat)


@pytest.mark.every_path
@pytest.mark.requires("cgroup")
def test_a_hog_finds_every_page_as_it_was(
    swap: Swap, data_path: tuple[str, ...], report: Report
) -> None:
    hog = HOG.run(swap.mount.mm_stat)
    failed = swap.mount.io_stat()
    zramfs("swapoff", swap.mount.path)

    report(hog.line(" ".join(["zramfs", *data_path])))
    assert hog.course["wrong"] == 0
    assert hog.filled.orig_data_size >= HOG.length // 2
    assert (failed.failed_reads, failed.failed_writes) == (0, 0)


@pytest.mark.requires("cgroup", "kernel-zram")
def test_the_same_hog_on_the_kernels_zram(report: Report) -> None:
    hog = _on_kernel_zram()

    report(hog.line("kernel zram"))
    assert hog.course["wrong"] == 0
    assert hog.filled.orig_data_size >= HOG.length // 2


def test_swapon_swaps_on_a_direct_loop_device_of_whole_pages(swap: Swap) -> None:
    used = teardown.swaps()
    block = Path("/sys/block", swap.device.name)
    direct = (block / "loop/dio").read_text()
    sector = (block / "queue/logical_block_size").read_text()
    affinity = (block / "queue/rq_affinity").read_text()
    zramfs("swapoff", swap.mount.path)

    assert used[swap.device] == 0
    assert (direct, sector, affinity) == ("1\n", "4096\n", "2\n")


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
