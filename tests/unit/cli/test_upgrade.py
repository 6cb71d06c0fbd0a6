"""zramfs.cli.upgrade: another worker for a mount."""

import sys
from pathlib import Path

import pytest

import zramfs
from tests.unit.cli.mounts import Notes
from zramfs.cli.main import main
from zramfs.errors import MountRefused
from zramfs.mount import upgrade

SUPERVISOR = 4710


@pytest.fixture
def supervised(mountpoint: Path) -> Path:
    """A mount that has a supervisor."""
    (mountpoint / "zramfs" / "supervisor_pid").write_text(f"{SUPERVISOR}\n")
    return mountpoint


def test_the_supervisor_is_asked_for_a_worker_of_this_program(
    supervised: Path, notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    notes.replace(upgrade, "ask", 4712)

    assert main(["upgrade", str(supervised)]) == 0
    assert capsys.readouterr().out == f"process 4712 now serves {supervised}\n"
    [call] = notes.calls
    assert call.startswith(f"ask {SUPERVISOR} ")
    assert sys.executable in call
    assert str(Path(zramfs.__file__).parent.parent) in call


def test_a_refusal_is_a_sentence(
    supervised: Path, notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    notes.replace(upgrade, "ask", error=MountRefused("not upgraded: no"))

    assert main(["upgrade", str(supervised)]) == 1
    assert capsys.readouterr().err == "zramfs: not upgraded: no\n"


@pytest.mark.parametrize("text", ["0\n", None], ids=["dead", "none"])
def test_without_a_supervisor_nothing_is_asked(
    mountpoint: Path,
    notes: Notes,
    capsys: pytest.CaptureFixture[str],
    text: str | None,
) -> None:
    notes.replace(upgrade, "ask", 4712)
    if text:
        (mountpoint / "zramfs" / "supervisor_pid").write_text(text)

    assert main(["upgrade", str(mountpoint)]) == 1
    assert "has no supervisor" in capsys.readouterr().err
    assert notes.calls == []
