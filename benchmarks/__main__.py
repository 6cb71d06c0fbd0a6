"""``tools/bench``: measure, print, save, and say whether the bounds hold."""

import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from benchmarks import chart, fio, machine, options, profile, spilling, table
from benchmarks.bounds import BOUNDS
from benchmarks.commands import BenchError
from benchmarks.measure import Run
from benchmarks.results import BoundRecord, Results
from tests.integration import teardown

_WIDTH: Final = 110
"""Columns of the tables when nobody watches."""


def _on_signal(number: int, _frame: FrameType | None) -> None:
    """End, taking everything down; a second signal does not stop that."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


@contextmanager
def _work_directory() -> Iterator[Path]:
    """Make a directory, and leave nothing that stands on it."""
    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="zramfs-bench."))
        stack.callback(_remove, place)
        yield place


def _remove(place: Path) -> None:
    teardown.take_down(place)
    # What still is mounted must not be deleted through.
    left = teardown.leftovers(place)
    if left:
        raise BenchError(f"left behind: {', '.join(left)}")
    shutil.rmtree(place)


def _measure(asked: options.Options, argv: list[str]) -> Results:
    plan = asked.plan
    results = Results(
        machine=machine.describe(),
        method={
            "command": shlex.join(["tools/bench", *argv]),
            "rounds": str(asked.rounds or plan.rounds),
            "data": f"{plan.size >> 20} MiB that compress 2.4:1",
            "seconds": f"{plan.seconds:g} for each side, row and round",
            "fio": " ".join(fio.COMMON),
            "swap": f"{plan.hog.length >> 20} MiB hog in a cgroup of "
            f"{plan.hog.limit >> 20} MiB, {asked.rounds or plan.swap_rounds} rounds",
        },
    )
    with _work_directory() as place, _progress() as progress:
        run = Run(asked, place, results)
        bar = progress.add_task("", total=run.nr_steps)

        def report(doing: str, steps: int) -> None:
            progress.update(bar, description=doing, advance=steps)

        run.measure(report)
    return results


def _progress() -> Progress:
    """Return a bar on stderr that shows itself only to a person."""
    console = Console(stderr=True)
    return Progress(
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _save(directory: Path, results: Results, judged: list[BoundRecord]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "bench.json").write_text(results.to_json(judged))
    (directory / "bench.svg").write_text(chart.draw(results))


def main(argv: list[str]) -> int:
    """Run the benchmark that *argv* asks for and return the exit status."""
    if {"--spill", "--rw-page"}.intersection(argv):
        return spilling.main(argv)
    if "--profile" in argv:
        return profile.main()
    asked = options.parse(argv)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    try:
        results = _measure(asked, argv)
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    judged = [bound.judge(results) for bound in BOUNDS]
    # What is piped into a file or a pager need not be cut to a narrow terminal.
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    table.show(console, results)
    table.show_bounds(console, judged)
    if asked.output and results.rounds:
        _save(asked.output, results, judged)
        console.print(f"saved bench.json and bench.svg in {asked.output}")
    missed = (False, None) if asked.is_complete else (False,)
    is_missed = any(record["holds"] in missed for record in judged)
    return 1 if asked.check and is_missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
