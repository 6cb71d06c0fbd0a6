"""Write the parts of README.md that come from tables: the attributes.

``tools/readme.py`` rewrites them in place; a test compares them.
"""

import re
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = ROOT / "README.md"

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


def rendered(text: str) -> str:
    """Return *text* with what is between the marks made anew."""
    return re.sub(
        r"(<!-- attributes -->\n).*?(<!-- end -->)",
        lambda marks: f"{marks[1]}{attribute_table()}\n{marks[2]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    README.write_text(rendered(README.read_text()))
