"""Discards arrive where there is a lane, and free whole pages.

Without one they are refused: a discard that succeeds and frees nothing is worse.
"""

import errno
import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import LoopFactory, Report
from tests.integration import files
from tests.integration.commands import attempt, run
from tests.integration.corpus import noise, system_files, text
from tests.integration.files import aligned, fallocate, opened
from tests.integration.mounts import (
    LANE_PATHS,
    MIB,
    PAGE_SIZE,
    Mount,
    MountFactory,
    settled,
)

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
    pytest.mark.paths(*LANE_PATHS),
    pytest.mark.timeout(60),
]

NR_PAGES: Final = 64
END: Final = NR_PAGES * PAGE_SIZE

RANGES: Final = {
    "a page": (0, PAGE_SIZE, 1),
    "all": (0, END, NR_PAGES),
    "all and beyond": (0, 2 * END, NR_PAGES),
    "pages": (5 * PAGE_SIZE, 9 * PAGE_SIZE, 9),
    "two bytes of two pages": (PAGE_SIZE - 1, 2, 0),
    "nearly a page": (PAGE_SIZE + 1, PAGE_SIZE - 1, 0),
    "as much as a page": (PAGE_SIZE + 1, PAGE_SIZE, 0),
    "an edge before": (2 * PAGE_SIZE - 9, 2 * PAGE_SIZE + 9, 2),
    "an edge behind": (PAGE_SIZE, 2 * PAGE_SIZE + 9, 2),
    "an edge before and one behind": (7, 3 * PAGE_SIZE, 2),
    "within a page": (100, 200, 0),
    "across the end": (END - PAGE_SIZE - 5, 9 * PAGE_SIZE, 1),
    "the last byte": (END - 1, 1, 0),
    "behind the end": (END, PAGE_SIZE, 0),
}
"""Offset, length, and how many whole pages lie within."""

Punched = tuple[int, int, int, bool]
"""Pages freed, pages counted in notify_free, st_size, whether all reads as it must."""


def _punch(mount: Mount, fd: int, mode: int, offset: int, length: int) -> Punched:
    """Make a hole in a full device, and find out what it has done."""
    expected = bytearray(noise(END))
    os.pwrite(fd, aligned(noise(END)), 0)
    before = mount.io_stat().notify_free

    fallocate(fd, mode, offset, length)

    stop = min(offset + length, END)
    expected[offset:stop] = bytes(stop - offset)
    return (
        NR_PAGES - mount.mm_stat().orig_data_size // PAGE_SIZE,
        mount.io_stat().notify_free - before,
        os.fstat(fd).st_size,
        os.pread(fd, END, 0) == expected,
    )


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(files.PUNCH_HOLE | files.KEEP_SIZE, id="punch-hole"),
        pytest.param(files.ZERO_RANGE, id="zero-range"),
        pytest.param(files.ZERO_RANGE | files.KEEP_SIZE, id="zero-range-keep-size"),
    ],
)
def test_a_hole_frees_whole_pages_and_zeroes_the_edges(
    mounted: MountFactory, mode: int
) -> None:
    with mounted("--disksize", str(END)) as mount, opened(mount.swapfile) as fd:
        punched = {
            name: _punch(mount, fd, mode, offset, length)
            for name, (offset, length, _) in RANGES.items()
        }

    assert punched == {
        name: (nr_freed, nr_freed, END, True)
        for name, (_, _, nr_freed) in RANGES.items()
    }


def test_every_page_counts_stored_or_not(mounted: MountFactory) -> None:
    with mounted("--disksize", "1G") as mount, opened(mount.swapfile) as fd:
        os.pwrite(fd, aligned(text(8 * PAGE_SIZE)), 0)
        for _ in range(2):
            fallocate(fd, files.DISCARD, 0, 1 << 30)
        counted = mount.io_stat()
        discards = mount.rw_page_stat()["discards"]

    assert counted == (0, 0, 0, 2 * (1 << 30) // PAGE_SIZE)
    assert discards == 2


def test_zeroing_the_edge_of_a_hole_stores_nothing(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        fallocate(fd, files.DISCARD, 1, 3 * PAGE_SIZE)
        stored = mount.mm_stat().orig_data_size

    assert stored == 0


UNSUPPORTED: Final = {
    "allocate": 0,
    "keep-size": files.KEEP_SIZE,
    "collapse-range": files.COLLAPSE_RANGE,
    "insert-range": files.INSERT_RANGE,
    "unshare-range": files.UNSHARE_RANGE,
    "no-hide-stale": files.DISCARD | files.NO_HIDE_STALE,
}


def _refusal(fd: int, mode: int) -> int | None:
    """Return the errno of fallocate(2) in *mode*, None if it succeeds."""
    try:
        fallocate(fd, mode, 0, PAGE_SIZE)
    except OSError as error:
        return error.errno
    return None


def test_what_is_no_discard_is_refused(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        os.pwrite(fd, text(MIB), 0)
        refused = {name: _refusal(fd, mode) for name, mode in UNSUPPORTED.items()}
        back = os.pread(fd, MIB, 0)
        # It was no reason to stop asking.
        fallocate(fd, files.DISCARD, 0, MIB)
        stored = mount.mm_stat().orig_data_size

    assert refused == dict.fromkeys(UNSUPPORTED, errno.EOPNOTSUPP)
    assert (back, stored) == (text(MIB), 0)


def test_a_hole_in_a_control_file_is_refused_for_that_file_only(
    mounted: MountFactory,
) -> None:
    """The kernel asks a mount that once answered ENOSYS no more, for no file."""
    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        os.pwrite(fd, aligned(text(MIB)), 0)
        with opened(mount.attribute("mem_limit"), os.O_WRONLY) as control:
            refused = _refusal(control, files.DISCARD), _refusal(control, 0)
        fallocate(fd, files.DISCARD, 0, MIB)
        stored = mount.mm_stat().orig_data_size

    assert refused == (errno.EOPNOTSUPP, errno.EOPNOTSUPP)
    assert stored == 0


def test_free_space_is_what_is_not_stored(mounted: MountFactory) -> None:
    """The loop device offers discard to whoever answers statfs(2)."""
    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        os.pwrite(fd, aligned(text(5 * PAGE_SIZE)), 0)
        space = os.statvfs(mount.path)
        fallocate(fd, files.DISCARD, 0, 2 * PAGE_SIZE)
        after = os.statvfs(mount.path)

    assert (space.f_bsize, space.f_frsize, space.f_blocks) == (
        PAGE_SIZE,
        PAGE_SIZE,
        256,
    )
    assert (space.f_bfree, space.f_bavail) == (251, 251)
    assert after.f_bfree == 253


@pytest.mark.paths("pyfuse3")
def test_without_a_lane_a_hole_is_refused(mounted: MountFactory) -> None:
    modes = (files.DISCARD, files.ZERO_RANGE, *UNSUPPORTED.values())

    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        os.pwrite(fd, text(MIB), 0)
        refused = [_refusal(fd, mode) for mode in modes]
        back = os.pread(fd, MIB, 0)

    assert refused == [errno.EOPNOTSUPP] * len(modes)
    assert back == text(MIB)


@pytest.mark.requires("root", "loop", "blkdiscard")
@pytest.mark.parametrize("zero", [[], ["--zeroout"]], ids=["discard", "zeroout"])
def test_blkdiscard_frees_a_range_and_then_all(
    mounted: MountFactory, loop: LoopFactory, zero: list[str]
) -> None:
    data = system_files(32 * MIB)
    some = ("--offset", str(MIB), "--length", str(8 * MIB))

    with mounted("--disksize", "32M") as mount:
        with loop(mount.swapfile) as device, opened(mount.swapfile) as fd:
            os.pwrite(fd, aligned(data), 0)
            run("blkdiscard", *zero, *some, device)
            stored = mount.mm_stat().orig_data_size
            rest = os.pread(fd, 32 * MIB, 0)
            run("blkdiscard", *zero, device)
            gone = os.pread(fd, 32 * MIB, 0)
        memory, counted = mount.mm_stat(), mount.io_stat()
        held = mount.memfd_bytes()

    assert stored == 24 * MIB
    assert rest == data[:MIB] + bytes(8 * MIB) + data[9 * MIB :]
    assert gone == bytes(32 * MIB)
    assert memory[:3] == (0, 0, 0)
    assert counted == (0, 0, 0, (8 + 32) * MIB // PAGE_SIZE)
    assert held <= MIB


@pytest.mark.paths("pyfuse3")
@pytest.mark.requires("root", "loop", "blkdiscard")
def test_without_a_lane_the_loop_device_offers_no_discard(
    mounted: MountFactory, loop: LoopFactory
) -> None:
    with mounted("--disksize", "1M") as mount, loop(mount.swapfile) as device:
        device.write_bytes(text(MIB))
        most = Path("/sys/block", device.name, "queue/discard_max_bytes").read_text()
        done = attempt("blkdiscard", device)
        stored = mount.mm_stat().orig_data_size
        # The kernel writes the zeros itself.
        run("blkdiscard", "--zeroout", device)
        zeros = mount.mm_stat()

    assert most == "0\n"
    assert done.returncode == 1
    assert "Operation not supported" in done.stderr
    assert stored == MIB
    assert (zeros.compr_data_size, zeros.same_pages) == (0, 256)


@pytest.mark.requires("root", "loop", "mkfs.ext4", "fstrim")
def test_fstrim_gives_the_memory_of_deleted_files_back(
    mounted: MountFactory, loop: LoopFactory, place: Path, report: Report
) -> None:
    inner = place / "ext4"
    inner.mkdir()
    tree = inner / "tree"

    with mounted("--disksize", "256M") as mount, loop(mount.swapfile) as device:
        run("mkfs.ext4", "-q", device)
        run("mount", "-t", "ext4", device, inner)
        run("sync", "--file-system", inner)
        empty = mount.rss()
        tree.mkdir()
        (tree / "text").write_bytes(system_files(64 * MIB))
        (tree / "noise").write_bytes(noise(32 * MIB))
        run("sync", "--file-system", inner)
        full, full_rss, full_memfd = mount.mm_stat(), mount.rss(), mount.memfd_bytes()
        shutil.rmtree(tree)
        run("sync", "--file-system", inner)
        trimmed = run("fstrim", "--verbose", inner)
        most = full.mem_used_total // 8
        used = settled(lambda: mount.mm_stat().mem_used_total, most)
        memory, rss, memfd = mount.mm_stat(), mount.rss(), mount.memfd_bytes()
        run("umount", inner)

    report(
        f"fstrim of {full.orig_data_size / MIB:.0f} MiB: {trimmed.strip()}; "
        f"mem_used_total {full.mem_used_total / MIB:.1f} -> {used / MIB:.1f} MiB, "
        f"resident set {full_rss / MIB:.1f} -> {rss / MIB:.1f} MiB "
        f"(empty: {empty / MIB:.1f}), memfd {full_memfd / MIB:.1f} -> "
        f"{memfd / MIB:.1f} MiB"
    )
    freed = full.mem_used_total - used
    assert memory.orig_data_size <= 8 * MIB
    assert used <= most
    assert full_rss - rss >= 0.95 * freed
    assert full_memfd - memfd >= 0.95 * freed
