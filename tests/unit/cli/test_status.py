"""zramfs.cli.status: what is mounted and what it holds."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.unit.cli.mounts import PID, show
from tests.unit.conftest import NR_SLOTS
from tests.unit.requests import write_page
from zramfs.cli import mounted, status
from zramfs.cli.main import main
from zramfs.core.device import Device
from zramfs.units import PAGE_SIZE

COLUMNS = (
    *("mountpoint", "pid", "disksize", "comp_algorithm", "orig_data_size"),
    *("compr_data_size", "mem_used_total", "mem_limit", "mem_used_max", "same_pages"),
    *("pages_compacted", "huge_pages", "huge_pages_since", "failed_reads"),
    *("failed_writes", "invalid_io", "notify_free", "backing_dev", "bd_count"),
    *("bd_reads", "bd_writes", "spill_read_errors", "spill_short_reads"),
    *("spill_corrupt_blocks", "spill_write_errors"),
)


@pytest.fixture(autouse=True)
def _listed(mountpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is mounted, for whoever names no mount."""
    monkeypatch.setattr(status, "zramfs_mounts", lambda: [mountpoint])


def test_json_has_every_column_under_its_kernel_name(
    mountpoint: Path, device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    write_page(device, 0, "text")
    show(mountpoint, device)

    assert main(["status", "--json", str(mountpoint)]) == 0

    [row] = json.loads(capsys.readouterr().out)
    assert tuple(row) == COLUMNS
    assert row["mountpoint"] == str(mountpoint)
    assert (row["pid"], row["disksize"]) == (PID, NR_SLOTS * PAGE_SIZE)
    assert asdict(device.mm_stat()).items() <= row.items()


def test_text_has_a_line_for_each_column(
    mountpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(mountpoint)]) == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _ in lines] == list(COLUMNS)
    assert ["disksize", str(NR_SLOTS * PAGE_SIZE)] in lines


def test_values_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    main(["status"])

    lines = capsys.readouterr().out.splitlines()
    assert len({line.rindex("  ") for line in lines}) == 1


def test_without_a_name_all_mounts_are_shown(
    mountpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--json"]) == 0

    [row] = json.loads(capsys.readouterr().out)
    assert row["mountpoint"] == str(mountpoint)


def test_several_mounts_are_a_line_apart(
    mountpoint: Path,
    tmp_path: Path,
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    show(other, device, pid=7)
    monkeypatch.setattr(mounted, "zramfs_mounts", lambda: [mountpoint, other])

    assert main(["status", str(other), str(mountpoint)]) == 0

    first, second = capsys.readouterr().out.split("\n\n")
    assert first.startswith("mountpoint")
    assert ["pid", "7"] in [line.split() for line in first.splitlines()]
    assert str(PID) in second


def test_no_mounts_are_said_to_be_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "zramfs_mounts", list)

    assert main(["status"]) == 0
    assert capsys.readouterr().out == "no zramfs is mounted\n"


def test_no_mounts_are_an_empty_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "zramfs_mounts", list)

    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_a_mount_that_does_not_answer_is_named_and_the_others_shown(
    mountpoint: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert main(["status", *options, "/no/where", str(mountpoint)]) == 1

    out, err = capsys.readouterr()
    assert err == "zramfs: no zramfs is mounted on /no/where\n"
    assert str(mountpoint) in out


def test_nothing_but_refusals_is_not_said_to_be_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["status", "/no/where"]) == 1
    assert capsys.readouterr().out == ""
