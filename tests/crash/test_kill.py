"""kill -9 of the worker: nobody sees an error, nothing is lost, nothing is left."""

from collections.abc import Iterator

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
def mount(mounted: MountFactory, announced: list[str]) -> Iterator[Mount]:
    """A mount whose worker is killed; all of its memory comes back at the end."""
    announced.append(RESTARTED)
    with mounted() as mount:
        mount.store("recomp_algorithm", "algo=zstd")
        mount.store("disksize", str(SIZE))
        yield mount
        assert_derived(mount)
        with opened(mount.swapfile) as fd:
            fallocate(fd, DISCARD, 0, SIZE)
        left = mount.mm_stat()
        assert (left.orig_data_size, left.compr_data_size) == (0, 0)
        assert left.mem_used_total == 0
        failed = mount.io_stat()
        assert (failed.failed_reads, failed.failed_writes) == (0, 0)


def test_no_request_fails_and_no_page_is_wrong(mount: Mount, report: Report) -> None:
    killer = Killer(mount, new_seed())
    with verifying(mount):
        killer.kill_often(45)

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
        while len(killer.times_s) < 12:
            mount.store("idle", "all")
            mount.store("recompress", "type=idle")

    killer.report(report, "recompression and fio --verify")
