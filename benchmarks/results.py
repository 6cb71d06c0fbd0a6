"""The figures of one run, and what is made of them: medians, ratios, JSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import TypedDict

from benchmarks.rows import ROWS


class RowRecord(TypedDict):
    """One row as JSON; figures by side."""

    title: str
    unit: str
    lower_is_better: bool
    median: dict[str, float]
    rounds: dict[str, list[float]]


class BoundRecord(TypedDict):
    """One demand as JSON; *value* and *holds* are null if it was not measured."""

    row: str
    side: str
    against: str | None
    value: float | None
    bound: float
    at_least: bool
    holds: bool | None


class Record(TypedDict):
    """One run as JSON."""

    machine: dict[str, str]
    method: dict[str, str]
    sides: dict[str, str]
    skipped: dict[str, str]
    notes: list[str]
    rows: dict[str, RowRecord]
    bounds: list[BoundRecord]


@dataclass(slots=True, kw_only=True)
class Results:
    """Figures by row and side, one for each round."""

    machine: dict[str, str]
    method: dict[str, str]
    sides: dict[str, str] = field(default_factory=dict)
    """What each side that was measured is."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Why each side that was asked for is not there."""
    notes: list[str] = field(default_factory=list)
    """What may have spoilt the figures."""
    rounds: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, row: str, side: str, figure: float) -> None:
        """Add what a round has measured, in the row's unit."""
        scaled = figure / ROWS[row].scale
        self.rounds.setdefault(row, {}).setdefault(side, []).append(scaled)

    def figures(self, row: str, side: str) -> list[float]:
        """Return what the rounds have measured; nothing if they have not."""
        return self.rounds.get(row, {}).get(side, [])

    def median(self, row: str, side: str) -> float | None:
        """Return the median over the rounds, None if there were none."""
        figures = self.figures(row, side)
        return median(figures) if figures else None

    def spread(self, row: str, side: str) -> float:
        """Return how far the rounds lie apart, as a part of their median."""
        figures = self.figures(row, side)
        middle = median(figures)
        return (max(figures) - min(figures)) / middle if middle else 0.0

    def ratio(self, row: str, side: str, against: str) -> float | None:
        """Return the median of *side* to *against* in the same round.

        A machine that becomes slower during the run does so for both.
        """
        pairs = zip(self.figures(row, side), self.figures(row, against), strict=False)
        ratios = [ours / theirs for ours, theirs in pairs if theirs]
        return median(ratios) if ratios else None

    def measured_rows(self) -> list[str]:
        """Return the rows that have figures, in the order of the table."""
        return [name for name in ROWS if self.rounds.get(name)]

    def to_json(self, bounds: Iterable[BoundRecord]) -> str:
        """Return the run as the text of a JSON file."""
        rows: dict[str, RowRecord] = {}
        for name in self.measured_rows():
            row = ROWS[name]
            rounds = self.rounds[name]
            rows[name] = {
                "title": row.title,
                "unit": row.unit,
                "lower_is_better": row.lower_is_better,
                "median": {side: _short(median(rounds[side])) for side in rounds},
                "rounds": {side: [*map(_short, rounds[side])] for side in rounds},
            }
        record: Record = {
            "machine": self.machine,
            "method": self.method,
            "sides": self.sides,
            "skipped": self.skipped,
            "notes": self.notes,
            "rows": rows,
            "bounds": [*bounds],
        }
        return json.dumps(record, indent=1) + "\n"


def _short(figure: float) -> float:
    return float(f"{figure:.4g}")
