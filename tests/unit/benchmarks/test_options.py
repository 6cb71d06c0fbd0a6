from pathlib import Path

import pytest

from benchmarks.options import parse
from benchmarks.rows import JOBS
from tests.integration.commands import ROOT


def test_a_complete_run_is_saved_in_docs() -> None:
    options = parse([])

    assert options.output == ROOT / "docs"
    assert options.rows == [*JOBS, "swap", "recompress"]
    assert "always" in options.sides


@pytest.mark.parametrize("argument", ["--quick", "--rows=swap", "--sides=zram"])
def test_a_run_that_is_not_complete_is_saved_nowhere(argument: str) -> None:
    assert parse([argument]).output is None


def test_output_says_where_to_save() -> None:
    assert parse(["--quick", "--output", "x"]).output == Path("x")


def test_patterns_choose_rows_and_sides_in_the_order_of_the_table() -> None:
    options = parse(["--rows", "write-*,read-*", "--sides", "zram,always"])

    assert options.rows == ["read-128k", "write-128k", "read-1m", "write-1m"]
    assert options.sides == ["always", "zram"]


@pytest.mark.parametrize("argument", ["--rows=none", "--sides=none", "--rounds=0"])
def test_what_does_not_exist_is_refused(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        parse([argument])

    assert "error" in capsys.readouterr().err
