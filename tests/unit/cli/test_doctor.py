"""zramfs.cli.doctor: what is safe, what is not, and the exit status."""

import json
from pathlib import Path

import pytest

from zramfs.cli import doctor
from zramfs.cli.main import main
from zramfs.errors import MountRefused
from zramfs.mount.measures import Measure

FINE = Measure(name="fine", fact="very")
REFUSED = Measure(name="refused", refusal="no", consequence="rain")
MISSING = Measure(name="missing", refusal="no", consequence="flood", essential=True)

OUTSIDE = (
    "supervisor: refused (it is dead): no other worker may be started when this one "
    "dies, and all pages are lost then; swap off, and mount again\n"
    "own storage: ok (nothing that it needs lies on it)\n"
)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[Measure]:
    """What is found out about the machine: append to it."""
    measures: list[Measure] = []
    monkeypatch.setattr(doctor, "machine_measures", lambda: measures)
    return measures


def say(mountpoint: Path, *measures: Measure) -> None:
    text = "".join(f"{measure}\n" for measure in measures)
    (mountpoint / "zramfs/swap_safety").write_text(text)


def test_a_machine_has_a_line_for_each_measure(
    machine: list[Measure], capsys: pytest.CaptureFixture[str]
) -> None:
    machine += [FINE, REFUSED]

    assert main(["doctor"]) == 0
    assert capsys.readouterr() == ("fine: ok (very)\nrefused: refused (no): rain\n", "")


def test_something_essential_that_is_missing_is_status_1(
    machine: list[Measure], capsys: pytest.CaptureFixture[str]
) -> None:
    machine += [FINE, MISSING]

    assert main(["doctor"]) == 1
    assert "missing: refused, essential (no): flood" in capsys.readouterr().out


def test_a_mount_has_the_lines_of_its_worker_and_of_what_is_outside(
    mountpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say(mountpoint, FINE, REFUSED)

    assert main(["doctor", str(mountpoint)]) == 0
    assert capsys.readouterr().out == f"{FINE}\n{REFUSED}\n{OUTSIDE}"


def test_a_mount_that_lacks_something_essential_is_status_1(mountpoint: Path) -> None:
    say(mountpoint, FINE, MISSING)

    assert main(["doctor", str(mountpoint)]) == 1


def test_json_has_an_object_for_each_measure(
    machine: list[Measure], capsys: pytest.CaptureFixture[str]
) -> None:
    machine += [FINE, MISSING]

    main(["doctor", "--json"])

    assert json.loads(capsys.readouterr().out) == [
        {
            "ok": True,
            "name": "fine",
            "refusal": None,
            "consequence": "",
            "essential": False,
            "fact": "very",
        },
        {
            "ok": False,
            "name": "missing",
            "refusal": "no",
            "consequence": "flood",
            "essential": True,
            "fact": "",
        },
    ]


def test_what_is_not_mounted_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(tmp_path)]) == 1
    assert "no zramfs is mounted" in capsys.readouterr().err


def test_a_mount_that_does_not_answer_is_refused(
    mountpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(mountpoint)]) == 1
    assert "does not answer" in capsys.readouterr().err


def test_a_safe_mount_may_be_swapped_on(mountpoint: Path) -> None:
    say(mountpoint, FINE, REFUSED)

    doctor.require_safe(mountpoint)


def test_an_unsafe_mount_may_not_be_swapped_on(mountpoint: Path) -> None:
    say(mountpoint, FINE, REFUSED, MISSING)

    with pytest.raises(MountRefused) as refused:
        doctor.require_safe(mountpoint)

    assert str(refused.value) == (
        "not swapped on: missing is refused (no): flood; or insist with --force"
    )


def supervise(mountpoint: Path, pid: int) -> None:
    (mountpoint / "zramfs/supervisor_pid").write_text(f"{pid}\n")


@pytest.mark.parametrize(
    ("locked", "refusal"), [(9, None), (7, "7.0K of 8.0K is locked")]
)
def test_a_supervisor_must_be_in_memory(
    mountpoint: Path, tmp_path: Path, locked: int, refusal: str | None
) -> None:
    supervise(mountpoint, 7)
    (tmp_path / "7").mkdir()
    (tmp_path / "7/status").write_text(f"VmLck: {locked} kB\nVmRSS: 8 kB\n")

    assert doctor.supervisor_measure(mountpoint, tmp_path).refusal == refusal


@pytest.mark.parametrize("pid", [0, 8])
def test_a_supervisor_that_has_gone_is_told_of(
    mountpoint: Path, tmp_path: Path, pid: int
) -> None:
    supervise(mountpoint, pid)

    measure = doctor.supervisor_measure(mountpoint, tmp_path)

    assert (measure.refusal, measure.is_missing) == ("it is dead", False)
