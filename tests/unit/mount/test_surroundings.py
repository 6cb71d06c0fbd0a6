"""zramfs.mount.surroundings: each measure that others take, held and refused."""

from pathlib import Path

import pytest

from zramfs.mount.cgroups import MemoryGroup
from zramfs.mount.surroundings import (
    cgroup_measure,
    loop_measures,
    priority_measure,
    resend_measure,
    zswap_measure,
)

MINE = Path("/dev/loop3")
DISK = Path("/dev/sda2")


def attach(sys_block: Path, name: str, *, direct: int = 1, sector: int = 4096) -> None:
    (sys_block / name / "loop").mkdir(parents=True)
    (sys_block / name / "queue").mkdir()
    (sys_block / name / "loop/backing_file").write_text("/mnt/z/swapfile\n")
    (sys_block / name / "loop/dio").write_text(f"{direct}\n")
    (sys_block / name / "queue/logical_block_size").write_text(f"{sector}\n")


def loop_refusals(sys_block: Path) -> dict[str, str | None]:
    measures = loop_measures(Path("/mnt/z"), sys_block)
    return {measure.name: measure.refusal for measure in measures}


def test_a_mount_without_a_loop_device_has_no_measures_of_one(tmp_path: Path) -> None:
    assert loop_measures(Path("/mnt/z"), tmp_path) == []


def test_a_loop_device_as_it_should_be(tmp_path: Path) -> None:
    attach(tmp_path, "loop3")

    assert loop_refusals(tmp_path) == {"loop3 direct I/O": None, "loop3 sectors": None}


def test_a_loop_device_through_the_page_cache_is_missing_something(
    tmp_path: Path,
) -> None:
    attach(tmp_path, "loop3", direct=0)

    [direct, _] = loop_measures(Path("/mnt/z"), tmp_path)

    assert direct.is_missing
    assert "losetup --direct-io=on /dev/loop3" in direct.consequence


def test_small_sectors_are_refused_but_work(tmp_path: Path) -> None:
    attach(tmp_path, "loop3", sector=512)

    [_, sectors] = loop_measures(Path("/mnt/z"), tmp_path)

    assert (sectors.refusal, sectors.is_missing) == ("512 bytes", False)


def test_each_loop_device_is_looked_at(tmp_path: Path) -> None:
    attach(tmp_path, "loop3")
    attach(tmp_path, "loop4", direct=0)

    assert loop_refusals(tmp_path)["loop4 direct I/O"] == "the page cache is between"


def test_a_group_without_a_limit_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    group = MemoryGroup(path=tmp_path, version=2)

    assert cgroup_measure([group], io_flusher=False).refusal is None
    assert cgroup_measure([], io_flusher=False).refusal is None


@pytest.mark.parametrize("io_flusher", [True, False])
def test_a_limit_is_named_and_hangs_who_waits_for_io(
    tmp_path: Path, *, io_flusher: bool
) -> None:
    (tmp_path / "memory.max").write_text(f"{128 << 20}\n")
    group = MemoryGroup(path=tmp_path, version=2)

    measure = cgroup_measure([group], io_flusher=io_flusher)

    assert measure.refusal == f"128.0M for {tmp_path}"
    assert measure.is_missing == (not io_flusher)


@pytest.mark.parametrize("release", ["6.9", "6.9.1-arch1", "6.18.44", "7.0-rc1"])
def test_linux_that_can_resend(release: str) -> None:
    assert resend_measure(release).refusal is None


@pytest.mark.parametrize("release", ["6.8.12-generic", "5.15.0", "6", "unknown"])
def test_linux_that_cannot_resend(release: str) -> None:
    assert resend_measure(release).refusal == f"Linux {release} is older than 6.9"


@pytest.mark.parametrize(("text", "refusal"), [("Y\n", "it is on"), ("N\n", None)])
def test_zswap_before_it_is_one_compression_too_many(
    tmp_path: Path, text: str, refusal: str | None
) -> None:
    (tmp_path / "enabled").write_text(text)

    assert zswap_measure(tmp_path / "enabled").refusal == refusal


def test_a_kernel_without_zswap_has_it_off(tmp_path: Path) -> None:
    assert zswap_measure(tmp_path / "enabled").refusal is None


def test_a_swap_with_the_highest_priority_is_fine() -> None:
    measure = priority_measure([(MINE, 100), (DISK, -2)], [MINE])

    assert (measure.refusal, measure.fact) == (None, "100")


@pytest.mark.parametrize("priority", [100, 101])
def test_a_swap_that_goes_before_is_named(priority: int) -> None:
    measure = priority_measure([(MINE, 100), (DISK, priority)], [MINE])

    assert measure.refusal == "/dev/sda2 has the same or a higher one"


def test_a_mount_that_is_not_swapped_on_has_no_priority() -> None:
    measure = priority_measure([(DISK, 5)], [MINE])

    assert (measure.refusal, measure.fact) == (None, "not swapped on")
