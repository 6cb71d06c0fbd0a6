"""zramfs.cli.swapoff: swap off, detach, unmount; or leave all as it was."""

import itertools
import os
import sys
import time
from pathlib import Path

import pytest

from tests.unit.cli.mounts import Commands, Notes
from zramfs.cli import swapoff, umount
from zramfs.cli.main import main
from zramfs.errors import MountRefused

LOOP = Path("/dev/loop7")

# The real ones would work on this machine's loop devices.
pytestmark = pytest.mark.usefixtures("root", "commands")


@pytest.fixture(autouse=True)
def _world(notes: Notes) -> None:
    """A loop device that is swapped on, and goes when it is detached."""
    notes.replace(swapoff, "swaps_on", [LOOP])
    notes.replace(swapoff, "loops_on", [LOOP], [])
    notes.replace(umount, "end")


def test_it_swaps_off_detaches_and_unmounts(
    mountpoint: Path, notes: Notes, commands: Commands
) -> None:
    assert main(["swapoff", str(mountpoint)]) == 0
    assert commands.called() == [f"swapoff {LOOP}", f"losetup --detach {LOOP}"]
    assert notes.calls[-1] == f"end {mountpoint}"


def test_what_is_not_swapped_on_is_detached_and_unmounted(
    mountpoint: Path, notes: Notes, commands: Commands
) -> None:
    notes.replace(swapoff, "swaps_on", [])

    assert main(["swapoff", str(mountpoint)]) == 0
    assert commands.called() == [f"losetup --detach {LOOP}"]


def test_a_swap_that_cannot_be_left_stays(
    mountpoint: Path,
    notes: Notes,
    commands: Commands,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands.install("swapoff", "echo 'swapoff: Cannot allocate memory' >&2; exit 4")

    assert main(["swapoff", str(mountpoint)]) == 1
    assert commands.called() == [f"swapoff {LOOP}"]
    assert notes.calls == [f"swaps_on {mountpoint}"]
    assert capsys.readouterr().err == "zramfs: swapoff: Cannot allocate memory\n"


def test_root_is_wanted(
    mountpoint: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert main(["swapoff", str(mountpoint)]) == 1
    assert notes.calls == []


def test_what_is_not_mounted_is_refused(
    notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["swapoff", "/no/where"]) == 1
    assert notes.calls == []
    assert capsys.readouterr().err == "zramfs: no zramfs is mounted on /no/where\n"


def test_a_loop_device_that_goes_late_is_waited_for(
    mountpoint: Path, notes: Notes
) -> None:
    notes.replace(swapoff, "loops_on", [LOOP], [LOOP], [LOOP], [])

    assert main(["swapoff", str(mountpoint)]) == 0
    assert notes.calls[-1] == f"end {mountpoint}"


def test_a_loop_device_that_never_goes_is_told(
    mountpoint: Path,
    notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    notes.replace(swapoff, "loops_on", [LOOP])
    minutes = itertools.count(0, 60)
    monkeypatch.setattr(time, "monotonic", lambda: next(minutes))

    assert main(["swapoff", str(mountpoint)]) == 1
    assert "swapped off, but /dev/loop7 is still in use" in capsys.readouterr().err


def test_a_person_sees_how_far_it_has_come(
    mountpoint: Path,
    notes: Notes,
    commands: Commands,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Ends when it has been looked at: no test knows how long a swapoff takes.
    looked = commands.directory / "looked"
    commands.install("swapoff", f"while [ ! -e {looked} ]; do :; done")
    left = iter([1000, 600])

    def swap_used(_: Path) -> int:
        used = next(left, 0)
        if used < 1000:
            looked.touch()
        return used

    monkeypatch.setattr(swapoff, "swap_used", swap_used)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    assert main(["swapoff", str(mountpoint)]) == 0
    assert commands.called()[0] == f"swapoff {LOOP}"
    assert notes.calls[-1] == f"end {mountpoint}"
    assert f"swapoff {LOOP}" in capsys.readouterr().err


def test_a_person_is_told_of_a_failure_too(
    mountpoint: Path,
    commands: Commands,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands.install("swapoff", "echo 'swapoff: no room' >&2; exit 4")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    assert main(["swapoff", str(mountpoint)]) == 1
    assert "zramfs: swapoff: no room\n" in capsys.readouterr().err


def test_a_mount_that_stays_is_told(
    mountpoint: Path, notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    notes.replace(umount, "end", error=MountRefused("cannot unmount: busy"))

    assert main(["swapoff", str(mountpoint)]) == 1
    assert capsys.readouterr().err == "zramfs: cannot unmount: busy\n"
