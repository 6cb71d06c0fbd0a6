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


def _less(name: str, title: str, unit: str, scale: float) -> Row:
    return Row(name=name, title=title, unit=unit, scale=scale, lower_is_better=True)


class SpillRow:
    """Written-back pages."""

    LATENCY: Final = _less(
        "spill-latency", "written back: 4 KiB read, depth 1", "us", 1e-6
    )
    READS: Final = Row(
        name="spill-reads",
        title="written back: 4 KiB read, depth 16",
        unit="k/s",
        scale=1e3,
    )
    WRITE: Final = Row(
        name="spill-write", title="writeback of idle pages", unit="MB/s", scale=1e6
    )
    GROWN: Final = _less("spill-grown", "writeback: grown by", "MiB", 1 << 20)
    SHRUNK: Final = Row(
        name="spill-shrunk",
        title="writeback: shrunk by, of mem_used_total",
        unit="%",
        scale=0.01,
    )

    ALL: Final = (LATENCY, READS, WRITE, GROWN, SHRUNK)


class RwPageRow:
    """One workload under each mode of rw_page."""

    READS: Final = Row(name="rw-reads", title="reads", unit="k/s", scale=1e3)
    RESIDENT_P50: Final = _less("rw-mem-p50", "resident page: median", "us", 1e-6)
    RESIDENT_P99: Final = _less("rw-mem-p99", "resident page: p99", "us", 1e-6)
    SPILLED_P50: Final = _less("rw-bd-p50", "written-back page: median", "us", 1e-6)
    SPILLED_P99: Final = _less("rw-bd-p99", "written-back page: p99", "us", 1e-6)
    WRITTEN: Final = _less("rw-written", "written to the spill", "MiB", 1 << 20)
    RESIDENT: Final = _less("rw-used", "in memory at the end", "MiB", 1 << 20)
    KEPT: Final = Row(
        name="rw-kept", title="pages that NO_WB kept", unit="k", scale=1e3
    )

    ALL: Final = (
        *(READS, RESIDENT_P50, RESIDENT_P99, SPILLED_P50, SPILLED_P99),
        *(WRITTEN, RESIDENT, KEPT),
    )


ROWS: Final = {
    row.name: row
    for row in (
        *(job.row for job in JOBS.values()),
        *SWAP_ROWS,
        *RECOMPRESS_ROWS,
        *SpillRow.ALL,
        *RwPageRow.ALL,
    )
}
"""All rows by name, in the order in which they are shown."""
