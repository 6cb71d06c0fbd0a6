"""zramfs.cli.top: a table for a person, else a line at each look."""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from zramfs.cli import top
from zramfs.cli.main import main
from zramfs.cli.mounted import Snapshot, read_snapshot
from zramfs.errors import MountRefused


@dataclass(slots=True)
class Watch:
    """A mount that is looked at so many times, at the speed of the test."""

    snapshot: Snapshot
    nr_looks: int
    end: BaseException

    def look(self, _: Path) -> Snapshot:
        if not self.nr_looks:
            raise self.end
        self.nr_looks -= 1
        return self.snapshot


@pytest.fixture
def watch(mountpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    snapshot = read_snapshot(mountpoint)
    mm_stat = replace(
        snapshot.mm_stat,
        orig_data_size=3 << 20,
        compr_data_size=1 << 20,
        mem_used_total=3 << 19,
        same_pages=5,
        huge_pages=7,
    )
    watch = Watch(replace(snapshot, mm_stat=mm_stat), 2, KeyboardInterrupt())
    monkeypatch.setattr(top, "read_snapshot", watch.look)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return watch


@pytest.mark.usefixtures("watch")
def test_a_pipe_gets_a_line_at_each_look(
    mountpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", str(mountpoint)]) == 0

    sizes = "stored 3.0M  compressed 1.0M  memory used 1.5M  ratio 2.00"
    line = f"{sizes}  same 5  huge 7  of 256.0K\n"
    assert capsys.readouterr().out == line * 2


@pytest.mark.usefixtures("watch")
def test_a_person_gets_a_table(
    mountpoint: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")

    assert main(["top", str(mountpoint)]) == 0

    text = capsys.readouterr().out
    words = ("(lz4)", "Ctrl-C", "memory used", "3.0M", "2.00", "256.0K")
    assert all(word in text for word in words)


def test_a_mount_that_goes_ends_it(
    mountpoint: Path, watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    watch.end = MountRefused("no zramfs is mounted")

    assert main(["top", str(mountpoint)]) == 1
    assert capsys.readouterr().err == "zramfs: no zramfs is mounted\n"


def test_the_time_between_two_looks_can_be_chosen(
    mountpoint: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)

    main(["top", str(mountpoint), "--interval", "0.25"])

    assert slept == [0.25, 0.25]
    assert watch.nr_looks == 0


@pytest.mark.usefixtures("watch")
@pytest.mark.parametrize("interval", ["-1", "nan", "inf", "1e300", "often", ""])
def test_a_time_that_nobody_can_wait_is_refused(
    capsys: pytest.CaptureFixture[str], interval: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["top", "/mnt/z", f"--interval={interval}"])

    assert end.value.code == 2
    assert "argument --interval: invalid" in capsys.readouterr().err
