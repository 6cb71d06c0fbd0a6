"""zramfs.cli.execute: what is refused; integration tests run commands."""

import os
from pathlib import Path

import pytest

from tests.unit.cli.mounts import Notes
from zramfs.cli import execute
from zramfs.cli.main import main
from zramfs.cli.namespace import View
from zramfs.core.disk import Disk

LOOP = Path("/dev/loop7")


@pytest.mark.usefixtures("user")
def test_root_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exec", "/mnt/z", "--", "true"]) == 1
    assert capsys.readouterr().err == "zramfs: exec needs root\n"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--"],
        ["--name", "zram3"],
        ["-v", "true"],
    ],
    ids=" ".join,
)
def test_a_command_is_wanted_behind_the_mountpoint(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["exec", "/mnt/z", *words])

    assert end.value.code == 2
    assert "options, then MOUNTPOINT, then '--' and" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["zram", "zramx", "loop1", "zram1/..", "zram1 ", ""])
def test_a_name_is_that_of_a_zram(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["exec", "--name", name, "/mnt/z", "--", "true"])

    assert end.value.code == 2
    assert f"{name!r} is no name like zram1" in capsys.readouterr().err


@pytest.mark.usefixtures("root")
def test_a_mount_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exec", "/no/where", "--", "true"]) == 1
    assert capsys.readouterr().err == "zramfs: no zramfs is mounted on /no/where\n"


@pytest.mark.usefixtures("root")
def test_a_mount_that_is_dead_is_refused(
    mountpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mountpoint / "zramfs/worker_pid").unlink()

    assert main(["exec", str(mountpoint), "--", "true"]) == 1
    assert capsys.readouterr().err == f"zramfs: {mountpoint} does not answer\n"


@pytest.mark.usefixtures("root")
def test_a_loop_device_that_goes_meanwhile_is_refused(
    mountpoint: Path,
    notes: Notes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    notes.replace(execute, "loops_on", [])
    notes.replace(execute, "attach", (LOOP, fd))
    notes.replace(execute, "disk_of", None)

    assert main(["exec", str(mountpoint), "--", "true"]) == 1

    assert capsys.readouterr().err == "zramfs: /dev/loop7 has been detached\n"
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


@pytest.mark.usefixtures("root")
def test_a_loop_device_that_stays_is_named(
    mountpoint: Path,
    notes: Notes,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(execute, "_DETACH_TIMEOUT_S", 0)
    notes.replace(execute, "loops_on", [], [LOOP])
    notes.replace(execute, "attach", (LOOP, os.open(os.devnull, os.O_RDONLY)))
    notes.replace(execute, "disk_of", None)

    main(["exec", str(mountpoint), "--", "true"])

    assert "/dev/loop7 is in use, and stays until" in capsys.readouterr().err


@pytest.mark.usefixtures("root")
def test_what_cannot_be_shown_is_refused(
    mountpoint: Path,
    notes: Notes,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def enter(_: object) -> None:
        raise PermissionError(1, "Operation not permitted", "/dev")

    notes.replace(execute, "loops_on", [])
    notes.replace(execute, "attach", (LOOP, os.open(os.devnull, os.O_RDONLY)))
    notes.replace(execute, "disk_of", Disk(name="loop7", dev="7:7", diskseq="1"))
    monkeypatch.setattr(View, "enter", enter)

    assert main(["exec", str(mountpoint), "--", "true"]) == 1
    assert capsys.readouterr().err == "zramfs: /dev: Operation not permitted\n"
