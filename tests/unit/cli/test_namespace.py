"""zramfs.cli.namespace: where the device is put, and what is hidden for it."""

import errno
import stat
from pathlib import Path

import pytest

from zramfs.cli.namespace import Kernel, View, free_name
from zramfs.core.disk import Disk

VIEW = View(
    mountpoint=Path("/mnt/z"),
    name="zram1",
    loop=Disk(name="loop2", dev="7:2", diskseq="24"),
)

DISKS = {"loop0": "7:0", "loop2": "7:2", "zram0": "253:0"}


class Covered:
    """A kernel whose mounts are moves: what is covered goes aside."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.covered: list[str] = []
        self.bound: dict[str, str] = {}
        self.nodes: dict[str, str] = {}
        self.is_private = False

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def unshare(self) -> None:
        self.is_private = True

    def cover(self, directory: Path) -> None:
        assert self.is_private, "this would be seen by everybody"
        self.covered.append(self._name(directory))
        aside = self.root / f"aside{len(self.covered)}"
        directory.rename(aside)
        directory.mkdir()

    def bind(self, source: Path | str, target: Path) -> None:
        assert target.exists() or target.parent.name.startswith("zram")
        source = Path(source)
        is_kept = source.is_relative_to("/proc/self/fd")
        is_kind = source.is_dir() == target.is_dir() if is_kept else True
        assert is_kind, target
        text = source.read_text() if source.is_file() and not is_kept else str(source)
        self.bound[self._name(target)] = "itself" if is_kept else text

    def make_node(self, path: Path, dev: str) -> None:
        self.nodes[self._name(path)] = dev


@pytest.fixture
def system(tmp_path: Path) -> Covered:
    """Some loop devices and a zram, as sysfs and /dev show them."""
    devices = tmp_path / "sys/devices/virtual/block"
    for place in ("sys/block", "sys/class/block", "sys/dev/block", "dev/pts"):
        (tmp_path / place).mkdir(parents=True)
    for name, dev in DISKS.items():
        (devices / name).mkdir(parents=True)
        target = f"devices/virtual/block/{name}"
        (tmp_path / "sys/block" / name).symlink_to(f"../{target}")
        (tmp_path / "sys/class/block" / name).symlink_to(f"../../{target}")
        (tmp_path / "sys/dev/block" / dev).symlink_to(f"../../{target}")
        (tmp_path / "dev" / name).touch()
    (tmp_path / "dev/null").touch()
    (tmp_path / "dev/fd").symlink_to("/proc/self/fd")
    control = tmp_path / "sys/class/zram-control"
    control.mkdir()
    (control / "hot_add").touch()
    return Covered(tmp_path)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_mount_is_a_device(system: Covered) -> None:
    VIEW.enter(system, system.root)

    directory = system.root / "sys/devices/virtual/block"
    assert names(directory) == ["loop0", "zram1"]
    assert system.bound["sys/devices/virtual/block/zram1"] == "/mnt/z"


@pytest.mark.parametrize(
    ("place", "name", "others"),
    [
        ("sys/block", "zram1", ["loop0"]),
        ("sys/class/block", "zram1", ["loop0"]),
        ("sys/dev/block", "7:2", ["7:0"]),
    ],
)
def test_sysfs_links_to_it(
    system: Covered, place: str, name: str, others: list[str]
) -> None:
    VIEW.enter(system, system.root)

    directory = system.root / place
    assert names(directory) == sorted([name, *others])
    device = system.root / "sys/devices/virtual/block/zram1"
    assert (directory / name).resolve() == device.resolve()


def test_its_node_is_that_of_the_loop_device(system: Covered) -> None:
    VIEW.enter(system, system.root)

    assert system.nodes == {"dev/zram1": "7:2"}
    assert names(system.root / "dev") == ["fd", "loop0", "null", "pts"]


def test_what_was_there_is_there(system: Covered) -> None:
    VIEW.enter(system, system.root)

    kept = {name for name, source in system.bound.items() if source == "itself"}
    assert kept == {
        *("dev/loop0", "dev/null", "dev/pts"),
        "sys/devices/virtual/block/loop0",
    }
    assert (system.root / "dev/fd").readlink() == Path("/proc/self/fd")


def test_it_says_of_itself_what_it_is_here(system: Covered) -> None:
    VIEW.enter(system, system.root)

    device = "sys/devices/virtual/block/zram1"
    assert system.bound[f"{device}/dev"] == "7:2\n"
    assert system.bound[f"{device}/diskseq"] == "24\n"
    assert "DEVNAME=zram1\n" in system.bound[f"{device}/uevent"]


def test_no_device_is_added_nor_removed(system: Covered) -> None:
    VIEW.enter(system, system.root)

    control = system.root / "sys/class/zram-control"
    assert names(control) == ["hot_add", "hot_remove"]
    assert (control / "hot_add").read_text() == f"{-errno.ENOMEM}\n"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in control.iterdir()}
    assert modes == {"hot_add": 0o400, "hot_remove": 0o200}


def test_without_zram_there_is_nothing_to_control(system: Covered) -> None:
    (system.root / "sys/class/zram-control/hot_add").unlink()
    (system.root / "sys/class/zram-control").rmdir()

    VIEW.enter(system, system.root)

    assert "sys/class/zram-control" not in system.covered


def test_a_name_of_the_kernels_can_be_taken(system: Covered) -> None:
    view = View(mountpoint=VIEW.mountpoint, name="zram0", loop=VIEW.loop)

    view.enter(system, system.root)

    assert names(system.root / "sys/block") == ["loop0", "zram0"]
    assert system.bound["sys/devices/virtual/block/zram0"] == "/mnt/z"


def test_the_first_name_that_is_free_is_the_default(tmp_path: Path) -> None:
    assert free_name(tmp_path) == "zram0"

    for name in ("zram0", "zram1", "zram3"):
        (tmp_path / name).mkdir()
    assert free_name(tmp_path) == "zram2"


def test_what_the_kernel_refuses_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=str(tmp_path)):
        Kernel().bind(tmp_path / "missing", tmp_path)
