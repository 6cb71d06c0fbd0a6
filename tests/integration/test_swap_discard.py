"""What is swapped no more leaves: the kernel discards it, and the daemon frees it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import Report
from tests.integration import teardown
from tests.integration.commands import zramfs
from tests.integration.mounts import LANE_PATHS, MIB, settled
from tests.integration.swapping import Hog, Swap, swapped_on

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("root", "fuse", "loop", "mkswap", "swapon", "cgroup"),
    pytest.mark.paths(*LANE_PATHS),
    pytest.mark.timeout(240),
]

HOG: Final = Hog(length=1024 * MIB, limit=256 * MIB, touch_s=2)


@pytest.fixture
def swap(
    place: Path, data_path: tuple[str, ...], announced: list[str]
) -> Iterator[Swap]:
    """Swap on a zramfs of 2 GiB; it is for the test to swap off."""
    with swapped_on(place, "2G", data_path, announced) as swap:
        yield swap


def test_the_daemon_shrinks_when_the_hog_has_ended(swap: Swap, report: Report) -> None:
    mount = swap.mount
    before = mount.rss()
    hog = HOG.run(mount.mm_stat)
    stored = settled(lambda: mount.mm_stat().orig_data_size, MIB)
    # The table of 2 GiB, 20 bytes a page, has been touched.
    after = settled(mount.rss, before + 16 * MIB)
    # At the same priority the kernel takes turns: another hog would be here, too.
    swaps = teardown.swaps()
    failed = mount.io_stat()
    held = mount.mm_stat().mem_used_total
    zramfs("swapoff", mount.path)

    report(hog.line("zramfs"))
    report(
        f"when it had ended: orig_data_size {stored / MIB:.1f} MiB, mem_used_total "
        f"{held / MIB:.1f} MiB, resident set {before / MIB:.1f} -> "
        f"{after / MIB:.1f} MiB"
    )
    assert hog.course["wrong"] == 0
    assert (failed.failed_reads, failed.failed_writes) == (0, 0)
    assert hog.filled.orig_data_size >= HOG.length // 2
    assert stored <= 8 * MIB, swaps
    assert after <= before + 32 * MIB, swaps
