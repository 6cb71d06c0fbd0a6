"""The run: every row, the sides in turn."""

import mmap
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks import fio, machine, recompress, swap
from benchmarks.commands import why_missing
from benchmarks.options import Options
from benchmarks.results import Results
from benchmarks.rows import JOBS, RECOMPRESS, SWAP, Job
from benchmarks.sides import Side, make_sides

_LOOK_S: Final = 0.1
"""How long to do nothing before a row, to see whether others do."""

_BUSY: Final = 0.05
"""From here on a note says that the machine was busy: with two CPUs, a tenth of one."""

Report = Callable[[str, int], None]
"""Takes what is going to be done, and how many steps have been since the last."""


class Run:
    """One run: what is asked for, and what can be had of it."""

    def __init__(self, options: Options, place: Path, results: Results) -> None:
        self._plan = options.plan
        self._place = place
        self._results = results
        self._jobs = [JOBS[name] for name in options.rows if name in JOBS]
        self._rounds = options.rounds or options.plan.rounds
        self._swap_rounds = options.rounds or options.plan.swap_rounds
        # The most that others were seen to use of the CPUs.
        self._busy = 0.0
        known = make_sides(options.peers)
        chosen = [known[name] for name in options.sides]
        no_fio = why_missing("fio", "fio")
        self._sides = self._available(
            chosen if self._jobs else [],
            lambda side: no_fio or side.server.why_not(),
        )
        self._swaps = self._available(
            [s for s in chosen if s.name in swap.SIDES and SWAP in options.rows],
            lambda side: side.server.why_not() or swap.why_not(side.name),
            "swap on ",
        )
        self._recompressing = self._available(
            [s for s in chosen if s.name == recompress.SIDE]
            if RECOMPRESS in options.rows
            else [],
            lambda side: side.server.why_not(),
            "recompression on ",
        )
        for side in chosen:
            if side in (*self._sides, *self._swaps, *self._recompressing):
                results.sides[side.name] = side.doc

    def _available(
        self,
        sides: Iterable[Side],
        why_not: Callable[[Side], str | None],
        prefix: str = "",
    ) -> list[Side]:
        """Return those of *sides* that can be had, and note why the others cannot."""
        available = []
        for side in sides:
            reason = why_not(side)
            if reason:
                self._results.skipped[f"{prefix}{side.name}"] = reason
            else:
                available.append(side)
        return available

    @property
    def nr_steps(self) -> int:
        """How many figures, or sets of them, will be measured."""
        return len(self._sides) * len(self._jobs) * self._rounds + (
            (len(self._swaps) + len(self._recompressing)) * self._swap_rounds
        )

    def measure(self, report: Report) -> None:
        """Measure everything; whatever is raised, nothing is left behind."""
        report("touching memory", 0)
        _warm(self._plan.warm_bytes)
        if self._sides:
            self._measure_jobs(report)
        for number in range(self._swap_rounds):
            for side in self._swaps:
                report(f"swapping on {side.name}", 0)
                self._look_around()
                place = self._place / f"swap-{side.name}-{number}"
                swap.measure(side.name, self._plan.hog, place, self._results)
                report("swap", 1)
        if self._recompressing:
            self._measure_recompression(report)
        if self._busy > _BUSY:
            self._results.notes.append(
                f"other processes used up to {self._busy:.0%} of the CPUs: "
                "the figures are too low, and the ratios not to be trusted"
            )

    def _look_around(self) -> None:
        """See whether others are at work; our idle sides must not be, either."""
        self._busy = max(self._busy, machine.busy_share(_LOOK_S))

    def _measure_jobs(self, report: Report) -> None:
        with ExitStack() as stack:
            targets: dict[str, Path] = {}
            for side in self._sides:
                server = side.server
                if server.name not in targets:
                    report(f"filling {server.name}", 0)
                    target = stack.enter_context(
                        server.serve(self._place / server.name, self._plan.size)
                    )
                    fio.fill(target, self._plan.size)
                    targets[server.name] = target
            for job in self._jobs:
                self._look_around()
                self._measure_job(job, targets, report)
            report("unmounting", 0)

    def _measure_recompression(self, report: Report) -> None:
        report("recompressing", 0)
        self._look_around()
        place = self._place / "recompress"
        size = self._plan.recompressed
        for _ in recompress.measure(place, size, self._swap_rounds, self._results):
            report("recompressing", 1)

    def _measure_job(self, job: Job, targets: dict[str, Path], report: Report) -> None:
        plan = self._plan
        for number in range(self._rounds):
            for side in self._sides:
                report(f"{job.row.title}: {side.name}", 0)
                target = targets[side.server.name]
                side.select(target)
                figure = fio.measure(
                    target, plan.size, job, plan.seconds, seed=number + 1
                )
                self._results.add(job.row.name, side.name, figure)
                report(job.row.title, 1)


def _warm(length: int) -> None:
    """Touch *length* bytes of memory, all at once, and give them back."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    mmap.mmap(-1, length, flags=flags).close()
