"""The transcripts, run against the core."""

from pathlib import Path

import pytest

from tests.conformance.core import Core
from tests.conformance.differences import TRANSCRIPTS, check, name_of
from tests.verify import opened_device


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=name_of)
def test_the_core_answers_as_the_transcript_says(path: Path) -> None:
    with opened_device() as device:
        check(path, Core(device))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=name_of)
def test_a_transcript_says_what_it_shows(path: Path) -> None:
    first = path.read_text().splitlines()[0]

    assert first.startswith("# ")
    assert not first.endswith(".")
