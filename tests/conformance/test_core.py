"""The transcripts, run against the core."""

from pathlib import Path

import pytest

from tests.conformance.core import Core
from tests.conformance.transcript import run
from tests.verify import opened_device

HERE = Path(__file__).parent
TRANSCRIPTS = sorted(HERE.rglob("*.txt"))


def name_of(path: Path) -> str:
    return str(path.relative_to(HERE).with_suffix(""))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=name_of)
def test_the_core_answers_as_the_transcript_says(path: Path) -> None:
    with opened_device() as device:
        run(path, Core(device))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=name_of)
def test_a_transcript_says_what_it_shows(path: Path) -> None:
    first = path.read_text().splitlines()[0]

    assert first.startswith("# ")
    assert not first.endswith(".")
