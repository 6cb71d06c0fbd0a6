"""benchmarks.profile: a lane whose kernel is the benchmark."""

from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import profile
from tests.integration.commands import ROOT
from tests.unit.mount.wires import READ, WRITE


@pytest.mark.parametrize("opcode", [READ, WRITE], ids=["read", "write"])
def test_every_stage_is_measured_on_requests_that_succeed(
    opcode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "_ROUNDS", 2)
    with closing(profile.Bench()) as bench:
        found = bench.profile(opcode)
        io_stat = bench.device.io_stat()

    assert min(found.codec, found.store, found.transfer, found.request) > 0
    assert found.floor == found.codec + found.transfer
    assert (io_stat.failed_reads, io_stat.failed_writes) == (0, 0)


def test_the_copying_server_is_read_from_the_last_results() -> None:
    found = profile._copying(ROOT / "docs")

    assert found.keys() == {READ, WRITE}


def test_without_results_there_is_nothing_to_compare(tmp_path: Path) -> None:
    assert profile._copying(tmp_path) == {}
