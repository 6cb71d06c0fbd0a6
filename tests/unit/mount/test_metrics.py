"""zramfs.mount.metrics: every statistic, as Prometheus reads it."""

import re
from pathlib import Path

import pytest

from tests.unit.requests import write_page
from zramfs.core.device import Device
from zramfs.mount.measures import Measure
from zramfs.mount.metrics import show_metrics
from zramfs.mount.paths import Paths, RwPage
from zramfs.mount.reserve import Reserve
from zramfs.mount.safety import Safety
from zramfs.mount.watchdog import FaultWatch
from zramfs.units import PAGE_SIZE

TYPE = re.compile(r"# TYPE (\w+) (gauge|counter)")
SAMPLE = re.compile(r'(\w+)(\{\w+="[^"\\\n]*"\})? (\d+)')

REFUSED = Measure(name="PR_SET_IO_FLUSHER", refusal="not in a test", consequence="x")


@pytest.fixture
def paths() -> Paths:
    return Paths(RwPage.ALWAYS)


def shown(device: Device, paths: Paths, nr_faults: int = 0) -> str:
    counts = iter([5])
    faults = FaultWatch(lambda: next(counts, 5 + nr_faults))
    safety = Safety(
        Path("/mnt/z"), [REFUSED], faults=faults, reserve=Reserve(lambda: 0)
    )
    return show_metrics(device, paths, safety)


def test_every_line_is_of_the_format(device: Device, paths: Paths) -> None:
    kinds: dict[str, str] = {}
    for line in shown(device, paths).splitlines():
        if kind := TYPE.fullmatch(line):
            assert kind[1] not in kinds
            kinds[kind[1]] = kind[2]
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            # A sample follows the type of its own metric.
            assert sample[1] == list(kinds)[-1]

    # A name of the kernel's, and no counter.
    assert kinds.pop("zramfs_mem_used_total") == "gauge"
    assert all(
        name.endswith("_total") == (kind == "counter") for name, kind in kinds.items()
    )


def test_the_columns_of_the_kernels_files_are_there(
    device: Device, paths: Paths
) -> None:
    write_page(device, 0, "text")
    write_page(device, 1, "zero")
    lines = shown(device, paths).splitlines()

    assert f"zramfs_orig_data_size {2 * PAGE_SIZE}" in lines
    assert f"zramfs_compr_data_size {device.mm_stat().compr_data_size}" in lines
    assert "zramfs_same_pages 1" in lines
    assert "zramfs_writes_total 2" in lines
    assert "zramfs_bd_count 0" in lines
    assert f"zramfs_disksize {device.disksize}" in lines


def test_paths_and_measures_are_labels(device: Device, paths: Paths) -> None:
    paths.stat.lane_reads = 3
    lines = shown(device, paths, nr_faults=2).splitlines()

    assert 'zramfs_path_total{path="lane_reads"} 3' in lines
    assert 'zramfs_safety{measure="PR_SET_IO_FLUSHER"} 0' in lines
    assert 'zramfs_safety{measure="mount namespace"} 1' in lines
    assert "zramfs_major_faults_total 2" in lines
    assert "zramfs_growth_refused_total 0" in lines


def test_a_device_without_a_disksize_has_metrics(bare: Device, paths: Paths) -> None:
    assert "zramfs_disksize 0\n" in shown(bare, paths)
