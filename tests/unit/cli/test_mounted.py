"""zramfs.cli.mounted: what a mount says of itself."""

from dataclasses import astuple, replace
from pathlib import Path

import pytest

from tests.unit.cli.mounts import PID, show
from tests.unit.conftest import NR_SLOTS
from tests.unit.requests import discard, write_page
from zramfs.cli.mounted import read_snapshot, require_mount, worker_pid
from zramfs.core.device import Device
from zramfs.errors import MountRefused
from zramfs.units import PAGE_SIZE


def test_a_snapshot_is_what_the_files_show(mountpoint: Path, device: Device) -> None:
    write_page(device, 0, "text")
    write_page(device, 1, "rand")
    write_page(device, 2, "zero")
    discard(device, 2, 1)
    show(mountpoint, device)

    snapshot = read_snapshot(mountpoint)

    assert snapshot.mm_stat == device.mm_stat()
    assert snapshot.io_stat == device.io_stat()
    assert (snapshot.mountpoint, snapshot.pid) == (mountpoint, PID)
    assert snapshot.disksize == NR_SLOTS * PAGE_SIZE
    assert snapshot.comp_algorithm == "lz4"


def test_numbers_that_fill_their_columns_are_read(
    mountpoint: Path, device: Device
) -> None:
    device.counters.notify_free = device.counters.failed_reads = 1 << 62
    device.counters.huge_pages_since = 1 << 62
    show(mountpoint, device)

    snapshot = read_snapshot(mountpoint)

    assert astuple(snapshot.io_stat) == (1 << 62, 0, 0, 1 << 62)
    assert snapshot.mm_stat.huge_pages_since == 1 << 62
    device.counters.huge_pages_since = 0


def test_another_algorithm_is_the_one_in_brackets(
    mountpoint: Path, bare: Device
) -> None:
    bare.reset()
    bare.set_algorithm(0, "zstd")
    show(mountpoint, bare)

    assert read_snapshot(mountpoint).comp_algorithm == "zstd"


def test_the_ratio_is_that_of_stored_bytes_to_memory(
    mountpoint: Path, device: Device
) -> None:
    snapshot = read_snapshot(mountpoint)
    full = replace(device.mm_stat(), orig_data_size=10000, mem_used_total=4000)

    assert snapshot.ratio == 0.0
    assert replace(snapshot, mm_stat=full).ratio == 2.5


def test_what_is_not_mounted_is_refused(mountpoint: Path) -> None:
    with pytest.raises(MountRefused, match=r"^no zramfs is mounted on /mnt/other$"):
        require_mount(Path("/mnt/other"))
    with pytest.raises(MountRefused, match=r"^no zramfs is mounted on "):
        read_snapshot(mountpoint.parent)


def test_a_mount_that_does_not_answer_is_refused(mountpoint: Path) -> None:
    (mountpoint / "mm_stat").unlink()

    with pytest.raises(MountRefused, match=r"does not answer: No such file or dir"):
        read_snapshot(mountpoint)


def test_the_process_of_a_mount_is_known(mountpoint: Path) -> None:
    assert worker_pid(mountpoint) == PID


def test_a_dead_mount_has_no_process(mountpoint: Path) -> None:
    (mountpoint / "zramfs" / "worker_pid").unlink()

    assert worker_pid(mountpoint) is None
