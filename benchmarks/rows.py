"""What is measured: one row of the table each."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured figure."""

    name: str
    title: str
    unit: str
    scale: float = 1.0
    """What a figure is divided by to be in *unit*."""
    lower_is_better: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What fio does for one row."""

    row: Row
    rw: str
    block: str
    depth: int

    @property
    def counts_requests(self) -> bool:
        """Whether the figure is requests per second; else it is bytes."""
        return self.rw.startswith("rand")


_RANDOM: Final = (("randread", "random read"), ("randwrite", "random write"))
_SEQUENTIAL: Final = (("read", "sequential read"), ("write", "sequential write"))

_SEQUENTIAL_DEPTH: Final = 4
"""Enough that the next request waits while one is served, as from a loop device."""


def _random(rw: str, words: str, depth: int) -> Job:
    row = Row(
        name=f"{rw}-4k-qd{depth}",
        title=f"4 KiB {words}, depth {depth}",
        unit="k/s",
        scale=1e3,
    )
    return Job(row=row, rw=rw, block="4k", depth=depth)


def _sequential(rw: str, words: str, block: str) -> Job:
    row = Row(
        name=f"{rw}-{block.lower()}",
        title=f"{block.replace('k', ' K').replace('M', ' M')}iB {words}",
        unit="MB/s",
        scale=1e6,
    )
    return Job(row=row, rw=rw, block=block, depth=_SEQUENTIAL_DEPTH)


_JOBS: Final = (
    *(_random(rw, words, depth) for depth in (1, 16) for rw, words in _RANDOM),
    *(_sequential(rw, words, b) for b in ("128k", "1M") for rw, words in _SEQUENTIAL),
)

JOBS: Final = {job.row.name: job for job in _JOBS}
"""The rows that fio measures, by name."""

SWAP_FILL: Final = Row(
    name="swap-fill", title="swap: fill", unit="s", lower_is_better=True
)
SWAP_VERIFY: Final = Row(
    name="swap-verify", title="swap: verify", unit="s", lower_is_better=True
)
SWAP_TOUCH: Final = Row(
    name="swap-touch", title="swap: random touches", unit="k/s", scale=1e3
)
SWAP_WRONG: Final = Row(
    name="swap-wrong", title="swap: wrong pages", unit="pages", lower_is_better=True
)
SWAP_RSS: Final = Row(
    name="swap-rss",
    title="swap: daemon grown by",
    unit="MiB",
    scale=1 << 20,
    lower_is_better=True,
)

SWAP: Final = "swap"
"""The name under which all the rows of the swap are asked for."""

SWAP_ROWS: Final = (SWAP_FILL, SWAP_VERIFY, SWAP_TOUCH, SWAP_WRONG, SWAP_RSS)

RECOMPRESS_RATIO: Final = Row(
    name="recompress-ratio", title="recompression: to a bare loop of zstd", unit="x"
)
RECOMPRESS_SPEED: Final = Row(
    name="recompress-speed", title="recompression", unit="MB/s", scale=1e6
)
RECOMPRESS_P99: Final = Row(
    name="recompress-p99",
    title="recompression: p99 of 4 KiB reads meanwhile",
    unit="ms",
    scale=1e-3,
    lower_is_better=True,
)

RECOMPRESS: Final = "recompress"
"""The name under which all the rows of the recompression are asked for."""

RECOMPRESS_ROWS: Final = (RECOMPRESS_RATIO, RECOMPRESS_SPEED, RECOMPRESS_P99)

ROWS: Final = {
    row.name: row
    for row in (*(job.row for job in JOBS.values()), *SWAP_ROWS, *RECOMPRESS_ROWS)
}
"""All rows by name, in the order in which they are shown."""
