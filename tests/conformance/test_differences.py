"""The list of differences is itself in order."""

from pathlib import Path

import pytest

from tests.conformance.differences import (
    DIFFERENCES,
    SHOWN_BY,
    TRANSCRIPTS,
    Difference,
    name_of,
)
from tests.integration.mounts import DATA_PATHS

ROOT = Path(__file__).parents[2]


def _row(*, before: str = "", lacks: str = "") -> Difference:
    return Difference(
        target="kernel",
        transcript="any",
        why="for some reason",
        answers=["cat size: 0"],
        before=before,
        lacks=lacks,
    )


def test_a_difference_is_one_of_a_target_from_a_transcript() -> None:
    targets = {row.target for row in DIFFERENCES}
    transcripts = {row.transcript for row in DIFFERENCES}

    assert targets <= {*DATA_PATHS, "mount", "kernel"}
    assert transcripts <= set(map(name_of, TRANSCRIPTS))


def test_a_difference_has_a_reason() -> None:
    without = [row for row in DIFFERENCES if not row.why or not row.answers]

    assert without == []


def test_what_differs_from_the_kernel_on_purpose_lives_apart() -> None:
    apart = {name for name in map(name_of, TRANSCRIPTS) if name.startswith("zramfs/")}
    on_purpose = {
        row.transcript
        for row in DIFFERENCES
        if row.target == "kernel" and not row.before and not row.lacks
    }

    assert on_purpose <= apart
    assert apart <= {row.transcript for row in DIFFERENCES if row.target == "kernel"}


@pytest.mark.parametrize(
    ("row", "release", "holds"),
    [
        (_row(), "6.18.44", True),
        (_row(before="7.3"), "6.18.44-fc-v595", True),
        (_row(before="7.3"), "7.2.0", True),
        (_row(before="7.3"), "7.3.0-rc1", False),
        (_row(before="7.3"), "7.10.1", False),
        (_row(lacks="zstd"), "6.18.44", True),
        (_row(lacks="lzo"), "6.18.44", False),
        (_row(lacks="recompress"), "6.18.44", True),
        (_row(lacks="idle"), "6.18.44", False),
    ],
)
def test_a_difference_holds_for_some_kernels(
    row: Difference, release: str, *, holds: bool
) -> None:
    assert row.holds_for(release, ["lzo-rle", "lzo", "lz4", "idle"]) is holds


def test_what_the_readme_lists_is_all_that_differs_on_purpose() -> None:
    apart = [name for name in map(name_of, TRANSCRIPTS) if name.startswith("zramfs/")]

    assert sorted(each for each in SHOWN_BY if "::" not in each) == sorted(apart)


@pytest.mark.parametrize("test", [each for each in SHOWN_BY if "::" in each])
def test_what_no_transcript_shows_has_a_test(test: str) -> None:
    path, _, name = test.partition("::")

    assert f"def {name}(" in (ROOT / path).read_text()
