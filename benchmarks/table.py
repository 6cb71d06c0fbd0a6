"""The results, as a person reads them."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.bounds import BOUNDS, Bound
from benchmarks.results import BoundRecord, Results
from benchmarks.rows import ROWS


def short(figure: float) -> str:
    """Return *figure* with three significant digits, as people write them."""
    if figure == 0:
        return "0"
    if figure >= 100:
        return f"{figure:.0f}"
    return f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"


def show(console: Console, results: Results) -> None:
    """Print where, what, and how."""
    facts = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    console.print(Text(facts, style="dim"))
    console.print(_figures(results))
    for name, doc in results.sides.items():
        console.print(Text(f"{name}: {doc}", style="dim"))
    for name, reason in results.skipped.items():
        console.print(Text(f"skipped {name}: {reason}", style="yellow"))
    for note in results.notes:
        console.print(Text(f"note: {note}", style="yellow"))


def _figures(results: Results) -> Table:
    rounds = results.method["rounds"]
    table = Table(
        title="Median, and the spread of the rounds where there are several",
        caption=f"rounds: {rounds}; s: less is better, all others: more",
    )
    table.add_column("row")
    table.add_column("unit")
    for side in results.sides:
        style = "bold" if side == "always" else None
        table.add_column(side, justify="right", style=style)
    for name in results.measured_rows():
        row = ROWS[name]
        cells = [_cell(results, name, side) for side in results.sides]
        table.add_row(row.title, row.unit, *cells)
    return table


def _cell(results: Results, row: str, side: str) -> str:
    middle = results.median(row, side)
    if middle is None:
        return ""
    if len(results.figures(row, side)) == 1:
        return short(middle)
    return f"{short(middle)} ±{results.spread(row, side) / 2:.0%}"


def show_bounds(console: Console, judged: Iterable[BoundRecord]) -> None:
    """Print what was demanded, and what became of it."""
    table = Table(title="Demands on rw_page always (median ratio within a round)")
    table.add_column("what")
    table.add_column("bound", justify="right")
    table.add_column("measured", justify="right")
    table.add_column("")
    for bound, record in zip(BOUNDS, judged, strict=True):
        table.add_row(*_demand(bound, record))
    console.print(table)


def _demand(bound: Bound, record: BoundRecord) -> tuple[str | Text, ...]:
    sign = ">=" if bound.at_least else "<="
    limit = f"{sign} {bound.bound:g}"
    value = record["value"]
    if value is None:
        return (str(bound), limit, "", Text("not measured", style="dim"))
    verdict = Text("holds", style="green")
    if not record["holds"]:
        verdict = Text("MISSED", style="bold red")
    return (str(bound), limit, short(value), verdict)
