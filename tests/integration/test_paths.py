"""rw_page selects the path of requests, rw_page_stat counts them."""

import errno
import os
import time
from itertools import cycle
from typing import Final

import pytest

from tests.integration.commands import running
from tests.integration.corpus import text
from tests.integration.files import DISCARD, aligned, fallocate, opened
from tests.integration.mounts import MIB, PAGE_SIZE, Mount, MountFactory, refuses

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
    pytest.mark.paths("always"),
]

MODES: Final = {
    "always": "[always] no_wb off\n",
    "no_wb": "always [no_wb] off\n",
    "off": "always no_wb [off]\n",
}

COUNTERS: Final = (
    *("lane_reads", "lane_writes", "declined_reads", "declined_writes"),
    *("bio_reads", "bio_writes", "discards", "spins", "spins_paid"),
    *("declined_spilled", "no_wb_slots"),
)


def _moved(mount: Mount, before: dict[str, int]) -> dict[str, int]:
    """Return by how much each counter that has moved did; spins are chance."""
    after = mount.rw_page_stat()
    return {
        name: after[name] - before[name]
        for name in after
        if after[name] != before[name] and not name.startswith("spins")
    }


def test_the_modes_are_shown_and_selected(mounted: MountFactory) -> None:
    shown = {}

    with mounted("--disksize", "1M") as mount:
        at_first = mount.show("zramfs/rw_page")
        for mode in ("off", "no_wb\n", "always"):
            mount.store("zramfs/rw_page", mode)
            shown[mode.strip()] = mount.show("zramfs/rw_page")

    assert at_first == MODES["always"]
    assert shown == MODES


@pytest.mark.parametrize("mode", MODES)
def test_the_mode_is_an_option_of_mount(mounted: MountFactory, mode: str) -> None:
    with mounted("--disksize", "1M", "--rw-page", mode) as mount:
        shown = mount.show("zramfs/rw_page")

    assert shown == MODES[mode]


def test_what_is_no_mode_is_refused(mounted: MountFactory) -> None:
    wrong = ("bogus", "ALWAYS", "always ", " off", "off\n\n", "[off]", "no-wb", "\n")

    with mounted("--disksize", "1M") as mount:
        for word in wrong:
            with refuses(errno.EINVAL):
                mount.store("zramfs/rw_page", word)
        shown = mount.show("zramfs/rw_page")

    assert shown == MODES["always"]


def test_a_reset_leaves_the_mode(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount:
        mount.store("zramfs/rw_page", "off")
        mount.store("reset", "1")
        shown = mount.show("zramfs/rw_page")

    assert shown == MODES["off"]


@pytest.mark.paths("pyfuse3")
def test_without_a_lane_there_is_one_mode(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount:
        for mode in ("always", "no_wb"):
            with refuses(errno.EOPNOTSUPP):
                mount.store("zramfs/rw_page", mode)
        with refuses(errno.EINVAL):
            mount.store("zramfs/rw_page", "bogus")
        mount.store("zramfs/rw_page", "off")
        shown = mount.show("zramfs/rw_page")

    assert shown == MODES["off"]


def _some_requests(fd: int) -> None:
    """Write twice and read three times, one and two pages."""
    os.pwrite(fd, aligned(text(PAGE_SIZE)), 0)
    os.pwrite(fd, aligned(text(2 * PAGE_SIZE)), PAGE_SIZE)
    for _ in range(3):
        os.preadv(fd, [aligned(bytes(2 * PAGE_SIZE))], 0)


LANE: Final = {"lane_reads": 3, "lane_writes": 2}
DECLINED: Final = {"declined_reads": 3, "declined_writes": 2}
BIO: Final = {"bio_reads": 3, "bio_writes": 2}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("always", LANE),
        ("no_wb", LANE | {"no_wb_slots": 2}),
        ("off", DECLINED | BIO),
    ],
)
def test_each_request_is_counted_on_its_path(
    mounted: MountFactory, mode: str, expected: dict[str, int]
) -> None:
    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        mount.store("zramfs/rw_page", mode)
        before = mount.rw_page_stat()
        _some_requests(fd)
        moved = _moved(mount, before)

    assert tuple(before) == COUNTERS
    assert moved == expected


@pytest.mark.paths("pyfuse3")
def test_without_a_lane_every_request_is_bio(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        before = mount.rw_page_stat()
        _some_requests(fd)
        moved = _moved(mount, before)
        spins = mount.rw_page_stat()["spins"]

    assert tuple(before) == COUNTERS
    assert moved == BIO
    assert spins == 0


def test_discards_that_free_are_counted(mounted: MountFactory) -> None:
    with mounted("--disksize", "16M") as mount, opened(mount.swapfile) as fd:
        before = mount.rw_page_stat()
        fallocate(fd, DISCARD, 0, PAGE_SIZE)  # in place
        fallocate(fd, DISCARD, 0, 16 * MIB)  # as a task
        with refuses(errno.EOPNOTSUPP):
            fallocate(fd, 0, 0, PAGE_SIZE)
        moved = _moved(mount, before)

    assert moved == {"discards": 2}


def test_the_lane_waits_a_moment_after_a_request(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        before = mount.rw_page_stat()
        for _ in range(10):
            os.pread(fd, PAGE_SIZE, 0)
            time.sleep(0.01)  # nothing comes while it waits
        after = mount.rw_page_stat()

    spins = after["spins"] - before["spins"]
    paid = after["spins_paid"] - before["spins_paid"]
    # Not for the first if libfuse still owes an answer to what came before.
    assert spins >= 9
    assert 0 <= paid <= spins


def test_no_wb_slots_are_those_read_in_the_lane(mounted: MountFactory) -> None:
    counted = []

    def count(mount: Mount) -> None:
        counted.append(mount.rw_page_stat()["no_wb_slots"])

    with mounted("--disksize", "1M", "--rw-page", "no_wb") as mount:
        with opened(mount.swapfile) as fd:
            os.pwrite(fd, aligned(text(10 * PAGE_SIZE)), 0)
            count(mount)
            # Two of the twelve were never written: they have nothing to mark.
            os.preadv(fd, [aligned(bytes(12 * PAGE_SIZE))], 0)
            count(mount)
            os.pread(fd, 4 * PAGE_SIZE, 0)
            count(mount)
            os.pwrite(fd, aligned(text(PAGE_SIZE)), 0)
            count(mount)
            fallocate(fd, DISCARD, PAGE_SIZE, 2 * PAGE_SIZE)
            count(mount)
            mount.store("zramfs/rw_page", "always")
            os.preadv(fd, [aligned(bytes(PAGE_SIZE))], 0)
            count(mount)
            mount.store("zramfs/rw_page", "off")
            os.preadv(fd, [aligned(bytes(PAGE_SIZE))], 0)
            count(mount)
        mount.store("reset", "1")
        count(mount)

    written, read, read_again, overwritten, discarded, *elsewhere, reset = counted
    assert (written, read, read_again) == (0, 10, 10)
    assert (overwritten, discarded) == (9, 7)
    assert elsewhere == [7, 7]
    assert reset == 0


_FIO: Final = (
    *("fio", "--name=switch", "--output-format=terse", "--ioengine=libaio"),
    *("--direct=1", "--iodepth=16", "--rw=randrw", "--bs=4k", "--size=64M"),
    *("--verify=crc32c", "--verify_fatal=1", "--verify_backlog=256"),
    *("--verify_state_save=0", "--fallocate=none", "--allow_file_create=0"),
    *("--randseed=20220908", "--refill_buffers=1", "--buffer_compress_percentage=60"),
)


@pytest.mark.requires("fio")
@pytest.mark.timeout(60)
def test_switching_under_load_fails_no_request(mounted: MountFactory) -> None:
    nr_switches = 0

    with mounted("--disksize", "64M") as mount:
        with running(*_FIO, f"--filename={mount.swapfile}") as fio:
            for mode in cycle(MODES):
                if fio.poll() is not None:
                    break
                mount.store("zramfs/rw_page", mode)
                nr_switches += 1
        _, complaint = fio.communicate()
        stat, failed = mount.rw_page_stat(), mount.io_stat()

    assert (fio.returncode, complaint) == (0, "")
    assert failed == (0, 0, 0, 0)
    assert nr_switches >= 50
    assert min(stat["lane_reads"], stat["bio_reads"]) > 0
    assert min(stat["lane_writes"], stat["bio_writes"]) > 0
