"""What must hold between the sides, and whether it did."""

from dataclasses import dataclass
from typing import Final

from benchmarks.results import BoundRecord, Results
from benchmarks.rows import (
    RECOMPRESS_RATIO,
    ROWS,
    SWAP_FILL,
    SWAP_RSS,
    SWAP_TOUCH,
    SWAP_VERIFY,
    SWAP_WRONG,
    SpillRow,
)

_OURS: Final = "always"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A demand on the figure of our side in *row*.

    It is compared with that of the side *against*, or as it is if that is None.
    """

    row: str
    against: str | None
    bound: float
    at_least: bool

    def value(self, results: Results) -> float | None:
        """Return the ratio, or the worst figure; None if it was not measured."""
        if self.against is not None:
            return results.ratio(self.row, _OURS, self.against)
        worst = min if self.at_least else max
        return worst(results.figures(self.row, _OURS), default=None)

    def holds(self, value: float) -> bool:
        """Whether *value* is on the right side of the bound."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        title = ROWS[self.row].title
        return f"{title} / {self.against}" if self.against else title

    def judge(self, results: Results) -> BoundRecord:
        """Return the demand and what became of it."""
        value = self.value(results)
        return {
            "row": self.row,
            "side": _OURS,
            "against": self.against,
            "value": None if value is None else float(f"{value:.4g}"),
            "bound": self.bound,
            "at_least": self.at_least,
            "holds": None if value is None else self.holds(value),
        }


def _at_least(row: str, against: str | None, bound: float) -> Bound:
    return Bound(row=row, against=against, bound=bound, at_least=True)


def _at_most(row: str, against: str | None, bound: float) -> Bound:
    return Bound(row=row, against=against, bound=bound, at_least=False)


_BOTH: Final = ("randread", "randwrite")

BOUNDS: Final = (
    *(_at_least(f"{rw}-4k-qd1", "ramfile", 0.6) for rw in _BOTH),
    *(_at_least(f"{rw}-4k-qd16", "ramfile", 0.9) for rw in _BOTH),
    *(_at_least(f"{rw}-4k-qd1", "pyfuse3", 2.0) for rw in _BOTH),
    *(_at_least(f"{rw}-4k-qd16", "pyfuse3", 2.5) for rw in _BOTH),
    *(_at_least(f"{rw}-4k-qd{n}", "nbdfuse", 4.0) for n in (1, 16) for rw in _BOTH),
    _at_least("read-1m", "nbdfuse", 2.0),
    _at_least("write-1m", "zram", 0.8),
    _at_most(SWAP_FILL.name, "zram", 1.1),
    _at_most(SWAP_VERIFY.name, "zram", 1.4),
    _at_least(SWAP_TOUCH.name, "zram", 0.45),
    _at_most(SWAP_WRONG.name, None, 0),
    _at_most(SWAP_RSS.name, None, 32),
    Bound(row=RECOMPRESS_RATIO.name, against=None, bound=0.7, at_least=True),
)
"""The demands of the issues that asked for the lane, and for recompression."""

SPILL_BOUNDS: Final = (
    _at_most(SpillRow.LATENCY.name, "fio", 1.8),
    _at_least(SpillRow.READS.name, "fio", 0.4),
    _at_least(SpillRow.WRITE.name, "dd", 0.6),
    _at_most(SpillRow.GROWN.name, None, 64),
    _at_least(SpillRow.SHRUNK.name, None, 95),
)
"""The demands of the issue that asked for writeback."""
