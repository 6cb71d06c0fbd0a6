"""The results, as a person reads them."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
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
    table = Table(
        title=f"Medians of {results.method['rounds']} rounds",
        caption="s, pages and MiB: less is better; spread: of the worst side",
        box=SIMPLE_HEAD,
    )
    table.add_column("row", no_wrap=True)
    table.add_column("unit")
    for side in results.sides:
        style = "bold" if side == "always" else None
        table.add_column(side, justify="right", style=style)
    table.add_column("spread", justify="right", style="dim")
    for name in results.measured_rows():
        medians = (results.median(name, side) for side in results.sides)
        cells = ("" if median is None else short(median) for median in medians)
        table.add_row(
            ROWS[name].title, ROWS[name].unit, *cells, _worst_spread(results, name)
        )
    return table


def _worst_spread(results: Results, row: str) -> str:
    spreads = [
        results.spread(row, side)
        for side in results.sides
        if len(results.figures(row, side)) > 1
    ]
    return f"±{max(spreads) / 2:.0%}" if spreads else ""


def show_bounds(
    console: Console, judged: Iterable[BoundRecord], bounds: Iterable[Bound] = BOUNDS
) -> None:
    """Print what was demanded, and what became of it."""
    table = Table(
        title="Demands on rw_page always (median of the rounds' ratios)",
        box=SIMPLE_HEAD,
    )
    table.add_column("what")
    table.add_column("bound", justify="right")
    table.add_column("measured", justify="right")
    table.add_column("")
    for bound, record in zip(bounds, judged, strict=True):
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
