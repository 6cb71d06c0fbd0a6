"""Write the parts of README.md that come from tables: attributes, differences, figures.

``tools/readme.py`` rewrites them in place; a test compares them.
"""

import json
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = ROOT / "README.md"
BENCH: Final = ROOT / "docs" / "bench.json"
DIFFERENCES: Final = ROOT / "tests" / "conformance" / "differences.toml"

sys.path.insert(0, str(ROOT))

from zramfs.core.attributes import ATTRIBUTES, Attribute  # noqa: E402  # the path first
from zramfs.mount.control import control_files  # noqa: E402
from zramfs.mount.paths import Paths, RwPage  # noqa: E402


def attribute_table() -> str:
    """Return the table of control files, one row each, in their order."""
    rows = ["| file | mode | stored to | what it is |", "|---|---|---|---|"]
    own = control_files(Paths(RwPage.ALWAYS), lane=True)
    rows += [_row(row.name, row) for row in ATTRIBUTES.values()]
    rows += [_row(f"zramfs/{row.name}", row) for row in own]
    return "\n".join(rows)


def _row(name: str, row: Attribute) -> str:
    when = row.when.value if row.parse else ""
    return f"| `{name}` | {row.mode:04o} | {when} | {row.doc} |"


def differences_list() -> str:
    """Return what differs from Linux on purpose, one line each."""
    rows = tomllib.loads(DIFFERENCES.read_text())["from_linux"]
    return "\n".join(f"- {row['what']}." for row in rows)


def bench_table() -> str:
    """Return what tools/bench last measured: a row for each, a column for each side."""
    bench = json.loads(BENCH.read_text())
    sides = list(bench["sides"])
    lines = ["| | " + " | ".join(sides) + " |", "|---" * (len(sides) + 1) + "|"]
    for row in bench["rows"].values():
        cells = [_number(row["median"].get(side)) for side in sides]
        lines.append(f"| {row['title']}, {row['unit']} | {' | '.join(cells)} |")
    machine, method = bench["machine"], bench["method"]
    how = (
        f"`{method['command']}`: medians of {method['rounds']}; {method['data']}; "
        f"{machine['cpu']}, Linux {machine['kernel']}, Python {machine['python']}, "
        f"{machine['date']}."
    )
    return "\n".join([*lines, "", how])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def rendered(text: str) -> str:
    """Return *text* with what is between the marks made anew."""
    tables = {
        "attributes": attribute_table(),
        "differences": differences_list(),
        "bench": bench_table(),
    }
    for name, table in tables.items():
        text = _between(name, table, text)
    return text


def _between(name: str, table: str, text: str) -> str:
    """Return *text* with *table* between the marks called *name*."""
    before, mark, rest = text.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    return f"{before}{mark}{table}\n{end}{after}"


if __name__ == "__main__":
    README.write_text(rendered(README.read_text()))
