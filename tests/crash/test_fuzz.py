"""Some seconds of fuzzing: what CI has time for."""

import os
import random
from pathlib import Path

import pytest

from tests.conftest import Report
from tests.crash.fuzz import fuzz

_SECONDS = 25.0

_HAS_RESEND = (6, 9)
"""Where requests that a dead worker had read are sent again."""


def _release() -> tuple[int, ...]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int(minor)


@pytest.mark.mount
@pytest.mark.timeout(_SECONDS + 60)
@pytest.mark.requires("fuse")
def test_whatever_happens_pages_are_what_was_written(
    place: Path, report: Report
) -> None:
    seed = random.SystemRandom().getrandbits(32)

    run = fuzz(place, seed, _SECONDS, kills=_release() >= _HAS_RESEND)

    facts = ", ".join(f"{count} {name}" for name, count in sorted(run.done.items()))
    report(f"fuzz, seed {seed}: {facts}, {run.nr_spilled} pages written back")
    assert run.done["write"] > 100
    assert run.nr_spilled > 0
