"""zramfs.cli.machine: what a machine must offer, there and not there."""

import os
import resource
import shutil
from pathlib import Path

import pytest

from zramfs.cli import machine
from zramfs.cli.machine import locking_measure, machine_measures
from zramfs.mount.measures import Measure

ALL = (1 << 40) - 1
CAP_IPC_LOCK = 1 << 14
CAP_SYS_ADMIN = 1 << 21
CAP_SYS_RESOURCE = 1 << 24
GIB = 1 << 30


class World:
    """A machine where everything is there, until a test takes it away."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proc = directory / "proc"
        (self.proc / "self").mkdir(parents=True)
        self.monkeypatch = monkeypatch
        self.programs = {"fusermount3", "losetup", "mkswap", "swapon", "swapoff"}
        self.devices = {"FUSE_DEVICE": "fuse", "_LOOP_CONTROL": "loop-control"}
        for constant, name in self.devices.items():
            (directory / name).touch()
            monkeypatch.setattr(machine, constant, directory / name)
        monkeypatch.setattr(shutil, "which", self._which)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        self.hold(ALL)
        self.memory(GIB)

    def _which(self, name: str) -> str | None:
        return f"/bin/{name}" if name in self.programs else None

    def hold(self, capabilities: int) -> None:
        text = f"Name:\tx\nCapEff:\t{capabilities:016x}\n"
        (self.proc / "self/status").write_text(text)

    def memory(self, available: int) -> None:
        text = f"MemTotal: 9 kB\nMemAvailable:  {available >> 10} kB\nHugePages: 0\n"
        (self.proc / "meminfo").write_text(text)

    def measures(self) -> dict[str, Measure]:
        return {measure.name: measure for measure in machine_measures(self.proc)}

    def refused(self) -> set[str]:
        # This kernel is what it is.
        names = {m.name for m in self.measures().values() if m.refusal}
        return names - {"FUSE_NOTIFY_RESEND", "zswap"}

    def missing(self) -> set[str]:
        return {m.name for m in self.measures().values() if m.is_missing}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_machine_that_has_everything_lacks_nothing(world: World) -> None:
    assert world.refused() == set()


@pytest.mark.parametrize("name", ["losetup", "mkswap", "swapon", "swapoff"])
def test_a_program_that_is_missing_is_named_with_its_package(
    world: World, name: str
) -> None:
    world.programs.remove(name)

    assert world.missing() == {name}
    assert "install the package" in world.measures()[name].consequence


def test_root_can_mount_without_fusermount3(world: World) -> None:
    world.programs.remove("fusermount3")

    assert (world.refused(), world.missing()) == ({"fusermount3"}, set())


def test_others_cannot_mount_without_fusermount3(world: World) -> None:
    world.programs.remove("fusermount3")
    world.monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert world.missing() == {"fusermount3"}


@pytest.mark.parametrize("constant", ["FUSE_DEVICE", "_LOOP_CONTROL"])
def test_a_device_that_cannot_be_opened_is_missing(
    world: World, tmp_path: Path, constant: str
) -> None:
    path = tmp_path / world.devices[constant]
    path.unlink()

    [name] = world.missing()

    assert world.measures()[name].refusal == "No such file or directory"


def test_without_root_nothing_is_swapped_on(world: World) -> None:
    world.hold(ALL & ~CAP_SYS_ADMIN)

    assert world.missing() == {"swapping"}


def test_what_containers_lack_is_refused_and_not_essential(world: World) -> None:
    world.hold(ALL & ~CAP_SYS_RESOURCE)

    assert (world.refused(), world.missing()) == ({"CAP_SYS_RESOURCE"}, set())


@pytest.mark.parametrize(
    ("limit", "capabilities", "refusal"),
    [
        (8 << 20, CAP_IPC_LOCK, None),
        (resource.RLIM_INFINITY, 0, None),
        (8 << 20, 0, "no more than 8.0M"),
        (0, ALL & ~CAP_IPC_LOCK, "no more than 0B"),
    ],
)
def test_memory_can_be_locked_without_a_limit_only(
    limit: int, capabilities: int, refusal: str | None
) -> None:
    measure = locking_measure(limit, capabilities)

    assert measure.refusal == refusal
    assert measure.is_missing == (refusal is not None)


def test_a_machine_without_memory_for_a_worker_is_told(world: World) -> None:
    world.memory(30 << 20)

    assert world.measures()["memory"].refusal == "30.0M"
