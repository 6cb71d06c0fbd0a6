"""zramfs.cli.fstab: the manners of a mount helper."""

import pytest

from tests.unit.cli.mounts import Notes
from zramfs.cli import daemon, fstab
from zramfs.cli.main import main
from zramfs.errors import MountRefused

LINE = ["zramfs", "/mnt/z", "-o", "rw,noexec,disksize=64M,comp_algorithm=zstd"]


@pytest.fixture(autouse=True)
def _daemon(notes: Notes) -> None:
    """A daemon that is ready at once."""
    notes.replace(daemon, "start", 0)


@pytest.mark.parametrize("flags", [[], ["-s"], ["-n", "-v"], ["-t", "fuse.zramfs"]])
def test_a_line_of_fstab_is_mounted(notes: Notes, flags: list[str]) -> None:
    assert fstab.main([*LINE, *flags]) == 0
    assert "'disksize': '64M'" in notes.calls[0]
    assert "'comp_algorithm': 'zstd'" in notes.calls[0]
    assert "mountpoint='/mnt/z'" in notes.calls[0]


def test_options_may_stand_anywhere(notes: Notes) -> None:
    assert fstab.main(["-o", "disksize=1M", "none", "/mnt/z"]) == 0
    assert "'disksize': '1M'" in notes.calls[0]


def test_a_fake_mount_mounts_nothing(notes: Notes) -> None:
    assert fstab.main([*LINE, "-f"]) == 0
    assert notes.calls == []


@pytest.mark.parametrize(
    "arguments",
    [["zramfs"], [], [*LINE, "-x"], ["zramfs", "/mnt/z", "-o", "disksize=big"]],
)
def test_a_wrong_command_line_is_status_1(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^1$"):
        fstab.main(arguments)

    assert capsys.readouterr().err.startswith("mount.zramfs: ")


def test_a_fake_mount_checks_the_options() -> None:
    with pytest.raises(SystemExit, match=r"^1$"):
        fstab.main(["zramfs", "/mnt/z", "-f", "-o", "colour=red"])


def test_a_mount_that_is_refused_is_status_32(
    notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    notes.replace(daemon, "start", error=MountRefused("no"))

    assert fstab.main(LINE) == 32
    assert capsys.readouterr().err == "mount.zramfs: no\n"


def test_a_worker_that_has_said_why_not_is_status_32(notes: Notes) -> None:
    notes.replace(daemon, "start", 1)

    assert fstab.main(LINE) == 32


def test_the_program_itself_is_a_helper_for_mount_fuse(notes: Notes) -> None:
    assert main(LINE) == 0
    assert "mountpoint='/mnt/z'" in notes.calls[0]


@pytest.mark.parametrize(
    "arguments", [["mout", "/mnt/z"], ["--json", "/mnt/z", "-o", "disksize=1M"]]
)
def test_a_mistyped_command_mounts_nothing(notes: Notes, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(arguments)

    assert notes.calls == []
