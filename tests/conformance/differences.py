"""The answers that differ from a transcript's on some target: differences.toml."""

import platform
import re
import tomllib
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.conformance.transcript import Target, play

HERE: Final = Path(__file__).parent

TRANSCRIPTS: Final = sorted(HERE.rglob("*.txt"))


def name_of(path: Path) -> str:
    """Return the name of the transcript at *path*."""
    return str(path.relative_to(HERE).with_suffix(""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One row."""

    target: str
    transcript: str
    why: str
    answers: list[str]
    """Commands and what is answered, where it is not what the transcript says."""
    ends: bool = False
    """Whether the transcript is left at the last of them."""
    before: str = ""
    """The version of Linux that answers as the transcript says."""
    lacks: str = ""
    """The algorithm, file or clock to set without which a kernel answers so."""

    def holds_for(self, release: str, has: Collection[str]) -> bool:
        """Whether a kernel of *release* that *has* these answers so."""
        if self.before and _version(release) >= _version(self.before):
            return False
        return self.lacks not in has


def _version(release: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", release)[:2]))


_TABLES: Final = tomllib.loads((HERE / "differences.toml").read_text())

DIFFERENCES: Final = [Difference(**row) for row in _TABLES["difference"]]

SHOWN_BY: Final = [each for row in _TABLES["from_linux"] for each in row["shown_by"]]
"""The transcripts and tests that show what differs from Linux on purpose."""


def listed(
    targets: Collection[str], transcript: str, has: Collection[str] = ()
) -> Difference | None:
    """Return what is known to differ on one that is all *targets*, None if nothing is.

    *has* are the algorithms and files that a kernel comes with.
    """
    rows = [
        row
        for row in DIFFERENCES
        if row.target in targets
        and row.transcript == transcript
        and row.holds_for(platform.release(), has)
    ]
    assert len(rows) <= 1, rows
    return rows[0] if rows else None


def check(path: Path, target: Target, row: Difference | None = None) -> None:
    """Play the transcript at *path*: it must hold, but for what *row* says."""
    answers = row.answers if row else []
    found = []
    with closing(play(path, target)) as exchanges:
        for each in exchanges:
            if each.answered != each.expected:
                found.append(each)
            if row and row.ends and len(found) == len(answers):
                break
    differing = [f"{each.command}: {each.answered}" for each in found]
    assert differing == answers, "\n".join(
        f"{path.name}: line {each.line}: {each.command}: "
        f"{each.answered}, not {each.expected}"
        for each in found
    )
