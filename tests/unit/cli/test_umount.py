"""zramfs.cli.umount: unmount, and see the daemon end."""

from pathlib import Path

import pytest

from tests.unit.cli.mounts import PID, Notes
from zramfs.cli import daemon, umount
from zramfs.cli.main import main
from zramfs.errors import MountRefused
from zramfs.mount import session


@pytest.fixture(autouse=True)
def _world(notes: Notes) -> None:
    """A system that unmounts, and daemons that end."""
    notes.replace(umount, "loops_on", [])
    notes.replace(session, "unmount")
    notes.replace(daemon, "wait_end")


def test_the_daemon_is_waited_for(mountpoint: Path, notes: Notes) -> None:
    assert main(["umount", str(mountpoint)]) == 0
    assert notes.calls == [
        f"loops_on {mountpoint}",
        f"unmount {mountpoint} lazy=False",
        f"wait_end {PID}",
    ]


def test_a_dead_mount_is_taken_out_of_sight(mountpoint: Path, notes: Notes) -> None:
    (mountpoint / "zramfs" / "worker_pid").unlink()

    assert main(["umount", str(mountpoint)]) == 0
    assert notes.calls[1:] == [f"unmount {mountpoint} lazy=True"]


def test_a_mount_with_a_loop_device_stays(
    mountpoint: Path, notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    notes.replace(umount, "loops_on", [Path("/dev/loop1"), Path("/dev/loop2")])

    assert main(["umount", str(mountpoint)]) == 1
    assert capsys.readouterr().err == (
        f"zramfs: /dev/loop1 /dev/loop2 is attached to {mountpoint}/swapfile: "
        f"run 'zramfs swapoff {mountpoint}', or detach it with losetup -d\n"
    )
    assert notes.calls == [f"loops_on {mountpoint}"]


def test_a_mount_that_is_in_use_stays(
    mountpoint: Path, notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    notes.replace(session, "unmount", error=MountRefused("cannot unmount: busy"))

    assert main(["umount", str(mountpoint)]) == 1
    assert capsys.readouterr().err == "zramfs: cannot unmount: busy\n"


def test_what_is_not_mounted_is_left_alone(tmp_path: Path, notes: Notes) -> None:
    assert main(["umount", str(tmp_path)]) == 1
    assert notes.calls == []
