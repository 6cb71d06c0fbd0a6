"""zramfs.cli.swapon: mount, attach, make a swap area, swap on; or undo it."""

import os
from pathlib import Path

import pytest

from tests.unit.cli.mounts import Commands, Notes
from zramfs.cli import daemon, doctor, swapon, system, umount
from zramfs.cli.main import main
from zramfs.errors import MountRefused

MOUNTPOINT = Path("/mnt/z")
SWAPON = ["swapon", str(MOUNTPOINT), "--disksize", "1G"]

ATTACH = (
    f"losetup --find --show --direct-io=on --sector-size 4096 {MOUNTPOINT}/swapfile"
)

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(autouse=True)
def _world(notes: Notes, commands: Commands) -> None:
    """A system where everything works."""
    notes.replace(daemon, "start", 0)
    notes.replace(umount, "end")
    notes.replace(system, "complete_where_asked")
    notes.replace(doctor, "require_safe")
    commands.install("losetup", "[ $1 = --detach ] || echo /dev/loop7")


def undone(notes: Notes) -> bool:
    return notes.calls[-1] == f"end {MOUNTPOINT}"


def test_a_mount_is_swapped_on(
    notes: Notes, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(SWAPON) == 0
    assert commands.called() == [
        ATTACH,
        "mkswap /dev/loop7",
        "swapon --discard /dev/loop7",
    ]
    assert notes.calls[1:] == [
        "complete_where_asked /dev/loop7",
        f"require_safe {MOUNTPOINT}",
    ]
    assert capsys.readouterr().out == "swapping on /dev/loop7, served from /mnt/z\n"


def test_a_priority_is_passed_on(commands: Commands) -> None:
    main([*SWAPON, "--priority", "0"])

    assert commands.called()[-1] == "swapon --discard --priority 0 /dev/loop7"


def test_a_size_is_wanted(notes: Notes, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swapon", str(MOUNTPOINT)]) == 1
    assert "swapon wants a --disksize" in capsys.readouterr().err
    assert notes.calls == []


def test_root_is_wanted(
    notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert main(SWAPON) == 1
    assert capsys.readouterr().err == "zramfs: swapon needs root\n"
    assert notes.calls == []


def test_a_mount_that_fails_is_its_own_status(notes: Notes, commands: Commands) -> None:
    notes.replace(daemon, "start", 3)

    assert main(SWAPON) == 3
    assert commands.called() == []


def test_without_a_loop_device_it_is_unmounted(
    notes: Notes, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.install("losetup", "echo 'losetup: no free loop device' >&2; exit 1")

    assert main(SWAPON) == 1
    assert undone(notes)
    assert capsys.readouterr().err == "zramfs: losetup: no free loop device\n"


@pytest.mark.parametrize("command", ["mkswap", "swapon"])
def test_what_fails_later_is_detached_and_unmounted(
    notes: Notes,
    commands: Commands,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    commands.install(command, f"echo '{command}: refused' >&2; exit 1")

    assert main(SWAPON) == 1
    assert commands.called()[-1] == "losetup --detach /dev/loop7"
    assert undone(notes)
    assert capsys.readouterr() == ("", f"zramfs: {command}: refused\n")


def test_what_is_not_safe_is_undone(
    notes: Notes, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    notes.replace(doctor, "require_safe", error=MountRefused("not swapped on"))

    assert main(SWAPON) == 1
    assert commands.called() == [ATTACH, "losetup --detach /dev/loop7"]
    assert undone(notes)
    assert capsys.readouterr() == ("", "zramfs: not swapped on\n")


def test_it_is_swapped_on_all_the_same_by_force(
    notes: Notes, commands: Commands
) -> None:
    notes.replace(doctor, "require_safe", error=MountRefused("not swapped on"))

    assert main([*SWAPON, "--force"]) == 0
    assert commands.called()[-1] == "swapon --discard /dev/loop7"


@pytest.fixture
def mounted_already(mountpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mount that was there before."""
    monkeypatch.setattr(swapon, "zramfs_mounts", lambda: [mountpoint])
    return mountpoint


def test_what_is_mounted_already_is_swapped_on(
    mounted_already: Path, notes: Notes, commands: Commands
) -> None:
    assert main(["swapon", str(mounted_already), "--priority", "5"]) == 0
    assert commands.called()[-1] == "swapon --discard --priority 5 /dev/loop7"
    assert notes.calls[-1] == f"require_safe {mounted_already}"
    assert "start" not in str(notes.calls)


def test_what_was_mounted_before_stays_mounted(
    mounted_already: Path, notes: Notes, commands: Commands
) -> None:
    commands.install("mkswap", "exit 1")

    assert main(["swapon", str(mounted_already)]) == 1
    assert commands.called()[-1] == "losetup --detach /dev/loop7"
    assert notes.calls[-1] == f"require_safe {mounted_already}"
    assert "start" not in str(notes.calls)


def test_options_come_too_late_for_a_mount(
    mounted_already: Path, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["swapon", str(mounted_already), "--mem-limit", "1G"]) == 1
    assert "--mem-limit comes too late" in capsys.readouterr().err
    assert commands.called() == []


def test_a_mount_without_a_disksize_is_not_swapped_on(
    mounted_already: Path, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    (mounted_already / "disksize").write_text("0\n")

    assert main(["swapon", str(mounted_already)]) == 1
    assert "has no disksize" in capsys.readouterr().err
    assert commands.called() == []


def test_a_mount_with_a_loop_device_is_not_swapped_on(
    mounted_already: Path,
    commands: Commands,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(swapon, "loops_on", lambda _: [Path("/dev/loop3")])

    assert main(["swapon", str(mounted_already)]) == 1
    assert "/dev/loop3 is attached" in capsys.readouterr().err
    assert commands.called() == []
