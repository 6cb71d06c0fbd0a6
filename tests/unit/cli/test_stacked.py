"""zramfs.cli.stacked: what a mount needs must not be stored on it."""

import os
from pathlib import Path

import pytest

from tests.unit.cli.mounts import PID
from zramfs.cli import stacked
from zramfs.cli.stacked import disks_under, mount_of, stacking_measure
from zramfs.mount.session import MountPoint

MOUNTPOINT = Path("/mnt/z")


def mount(path: str, device: str, fs_type: str = "ext4") -> MountPoint:
    return MountPoint(path=Path(path), fs_type=fs_type, device=device)


TABLE = [
    mount("/", "8:2"),
    mount("/mnt/z", "0:40", "fuse.zramfs"),
    mount("/data", "7:3"),
    mount("/data", "8:9"),
    mount("/data/deep", "7:3"),
]


@pytest.mark.parametrize(
    ("path", "device"),
    [
        ("/usr/bin/python3", "8:2"),
        ("/mnt/z/swapfile", "0:40"),
        ("/mnt/zz", "8:2"),
        ("/data/spill", "8:9"),
        ("/data/deep/spill", "7:3"),
    ],
)
def test_a_path_lies_on_the_last_and_deepest_mount(path: str, device: str) -> None:
    found = mount_of(Path(path), TABLE)

    assert found
    assert found.device == device


def test_without_mounts_a_path_lies_on_none() -> None:
    assert mount_of(Path("/x"), []) is None


@pytest.fixture
def sys_dev(tmp_path: Path) -> Path:
    """A /sys/dev/block: loop3, a partition of it, and a mapping of the partition."""
    devices = tmp_path / "devices"
    path = tmp_path / "dev"
    path.mkdir()
    for name, number in {
        "loop3": "7:3",
        "loop3/loop3p1": "259:1",
        "dm-0": "254:0",
    }.items():
        (devices / name).mkdir(parents=True)
        (devices / name / "dev").write_text(f"{number}\n")
        (path / number).symlink_to(devices / name)
    (devices / "loop3/loop3p1/partition").write_text("1\n")
    (devices / "dm-0/slaves").mkdir()
    (devices / "dm-0/slaves/loop3p1").symlink_to(devices / "loop3/loop3p1")
    return path


@pytest.mark.parametrize(
    ("device", "disks"),
    [
        ("7:3", {"loop3"}),
        ("259:1", {"loop3p1", "loop3"}),
        ("254:0", {"dm-0", "loop3p1", "loop3"}),
        ("0:40", set()),
    ],
)
def test_a_device_stands_on_those_below(
    sys_dev: Path, device: str, disks: set[str]
) -> None:
    assert disks_under(device, sys_dev) == disks


class World:
    """A mount, its loop device, and a worker with some files."""

    def __init__(
        self, directory: Path, sys_dev: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._fd = directory / str(PID) / "fd"
        self._fd.mkdir(parents=True)
        self._swaps = directory / "swaps"
        self.swap_to("/dev/loop3")
        (self._fd.parent / "exe").symlink_to("/usr/bin/python3")
        monkeypatch.setattr(stacked, "PROC_SWAPS", self._swaps)
        monkeypatch.setattr(stacked, "PROC", directory)
        monkeypatch.setattr(stacked, "mounts", lambda: TABLE)
        monkeypatch.setattr(stacked, "loops_on", lambda _: [Path("/dev/loop3")])
        monkeypatch.setattr(stacked, "worker_pid", lambda _: PID)
        monkeypatch.setattr(
            stacked, "disks_under", lambda device: disks_under(device, sys_dev)
        )

    def swap_to(self, path: str) -> None:
        self._swaps.write_text(f"Filename Type Size Used Priority\n{path} x 4 0 1\n")

    def open(self, *targets: str) -> None:
        for number, target in enumerate(targets):
            (self._fd / str(number)).symlink_to(target)


@pytest.fixture
def world(tmp_path: Path, sys_dev: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path / "proc", sys_dev, monkeypatch)


def test_what_lies_elsewhere_is_fine(world: World) -> None:
    world.open("/dev/fuse", "/memfd:zramfs (deleted)", "socket:[1]", "/data/spill")

    assert stacking_measure(MOUNTPOINT).refusal is None


@pytest.mark.parametrize("path", ["/data/deep/spill", "/mnt/z/mm_stat"])
def test_a_file_of_the_worker_that_lies_on_it_is_named(world: World, path: str) -> None:
    world.open("/dev/null", path)

    measure = stacking_measure(MOUNTPOINT)

    assert measure.is_missing
    assert measure.refusal == f"{path} lies on it"


def test_a_swap_file_that_lies_on_it_is_named(world: World) -> None:
    world.swap_to("/data/deep/swap")

    assert stacking_measure(MOUNTPOINT).refusal == "/data/deep/swap lies on it"


def test_a_worker_that_has_gone_has_no_files(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.open("/data/deep/spill")
    monkeypatch.setattr(stacked, "worker_pid", lambda _: None)

    assert stacking_measure(MOUNTPOINT).refusal is None


def test_somebody_elses_worker_is_not_looked_into(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacked, "worker_pid", lambda _: PID + 1)
    world.open("/data/deep/spill")

    assert stacking_measure(MOUNTPOINT).refusal is None


def test_a_descriptor_that_has_just_been_closed_is_no_matter(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def readlink(path: Path) -> str:
        raise FileNotFoundError(path)

    world.open("/data/deep/spill")
    monkeypatch.setattr(os, "readlink", readlink)

    assert stacking_measure(MOUNTPOINT).refusal is None
