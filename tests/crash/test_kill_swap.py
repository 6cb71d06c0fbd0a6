"""kill -9 of the worker that a swap device stands on."""

from pathlib import Path

import pytest

from tests.conftest import Report
from tests.crash.killing import RESTARTED, Killer, assert_derived, new_seed
from tests.integration.commands import zramfs
from tests.integration.mounts import MIB
from tests.integration.swapping import Hog, swapped_on

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("root", "fuse", "loop", "mkswap", "swapon", "cgroup"),
    pytest.mark.timeout(120),
]

HOG = Hog(length=192 * MIB, limit=64 * MIB, touch_s=4)


def test_a_hog_finds_every_page_as_it_was(
    place: Path, data_path: tuple[str, ...], announced: list[str], report: Report
) -> None:
    announced.append(RESTARTED)
    with swapped_on(place, "512M", data_path, announced) as swap:
        killer = Killer(swap.mount, new_seed())
        with killer.killing():
            hog = HOG.run(swap.mount.mm_stat)
        failed = swap.mount.io_stat()
        assert_derived(swap.mount)
        zramfs("swapoff", swap.mount.path)

    killer.report(report, "a live swap")
    report(hog.line("killed meanwhile"))
    assert hog.course["wrong"] == 0
    assert hog.filled.orig_data_size >= HOG.length // 2
    assert (failed.failed_reads, failed.failed_writes) == (0, 0)
    assert len(killer.times_s) >= 20
