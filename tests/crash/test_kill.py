"""kill -9 of the worker: nobody sees an error, nothing is lost, nothing is left."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Report
from tests.crash.killing import RESTARTED, Killer, assert_derived, new_seed
from tests.crash.load import SIZE, verifying
from tests.integration.files import DISCARD, fallocate, opened
from tests.integration.mounts import Mount, MountFactory

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse", "fio"),
    pytest.mark.timeout(90),
]


@pytest.fixture
def mount(mounted: MountFactory, place: Path, announced: list[str]) -> Iterator[Mount]:
    """A mount whose worker is killed; all that it holds comes back at the end."""
    announced.append(RESTARTED)
    spill = place / "spill"
    with spill.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, SIZE)
    with mounted() as mount:
        mount.store("recomp_algorithm", "algo=zstd")
        mount.store("backing_dev", str(spill))
        mount.store("disksize", str(SIZE))
        yield mount
        assert_derived(mount)
        with opened(mount.swapfile) as fd:
            fallocate(fd, DISCARD, 0, SIZE)
        left = mount.mm_stat()
        assert (left.orig_data_size, left.compr_data_size) == (0, 0)
        assert left.mem_used_total == 0
        assert mount.show("bd_stat").split()[0] == "0"
        failed = mount.io_stat()
        assert (failed.failed_reads, failed.failed_writes) == (0, 0)


def test_no_request_fails_and_no_page_is_wrong(mount: Mount, report: Report) -> None:
    killer = Killer(mount, new_seed())
    with verifying(mount):
        killer.kill_often(30)

    killer.report(report, "fio --verify, random reads and writes at depth 16")


def test_requests_that_are_tasks_are_sent_again_too(
    mount: Mount, report: Report
) -> None:
    mount.store("zramfs/rw_page", "off")
    killer = Killer(mount, new_seed())
    with verifying(mount):
        killer.kill_often(8)

    killer.report(report, "fio --verify with rw_page off")
    assert mount.show("zramfs/rw_page") == "always no_wb [off]\n"


def test_long_work_is_begun_again(mount: Mount, report: Report) -> None:
    """A store to a control file that is under way is sent again as well."""
    killer = Killer(mount, new_seed())
    with verifying(mount), killer.killing():
        while len(killer.times_s) < 15:
            mount.store("idle", "all")
            mount.store("recompress", "type=idle")
            mount.store("idle", "all")
            mount.store("writeback", "idle")
    counters = mount.rw_page_stat()

    killer.report(report, "writeback, recompression and fio --verify")
    assert counters["bio_reads"] > 0  # of pages that had been written back
