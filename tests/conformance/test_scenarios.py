"""Every scenario in which real kernels were asked is held to: scenarios.toml."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.conformance.differences import HERE, TRANSCRIPTS, name_of

ROOT: Final = HERE.parents[1]

ORACLE: Final = ROOT.parent / "shared" / "oracle" / "scenarios"
"""Beside the repository, or not there at all."""

SCENARIOS: Final[Mapping[str, list[str]]] = tomllib.loads(
    (HERE / "scenarios.toml").read_text()
)["scenarios"]


def is_there(shown_by: str) -> bool:
    """Whether there is such a transcript, or such a test."""
    path, _, test = shown_by.partition("::")
    if not test:
        return path in map(name_of, TRANSCRIPTS)
    file = ROOT / path
    return file.exists() and f"\ndef {test}(" in file.read_text()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_holds_zramfs_to_a_scenario_is_there(scenario: str) -> None:
    named = SCENARIOS[scenario]

    assert named
    assert [each for each in named if not is_there(each)] == []


def missing(scenarios: Path) -> set[str]:
    """Return the scenarios in a directory, which may be missing, that nothing names."""
    return {path.stem for path in scenarios.glob("*.sh")} - SCENARIOS.keys()


def test_no_scenario_is_missing() -> None:
    assert missing(ORACLE) == set()


def test_a_scenario_that_nothing_names_is_found(tmp_path: Path) -> None:
    for name in ("42-backing-read-error", "99-unheard-of"):
        (tmp_path / f"{name}.sh").touch()

    assert missing(tmp_path) == {"99-unheard-of"}
    assert missing(tmp_path / "not there") == set()


@pytest.mark.parametrize(
    "shown_by",
    [
        "writeback-unheard-of",
        "tests/conformance/test_unheard_of.py::test_it",
        "tests/conformance/test_scenarios.py::test_it",
    ],
)
def test_what_is_not_there_is_noticed(shown_by: str) -> None:
    assert not is_there(shown_by)
