"""The bar chart: one panel for each row, one bar for each side.

Written by hand: it is rectangles and words, and what plotting libraries write does
not follow the reader's colours. The style sheet within does, so the picture can be
read on a light page and on a dark one.
"""

from collections.abc import Iterator
from html import escape
from typing import Final

from benchmarks.results import Results
from benchmarks.rows import RECOMPRESS_ROWS, ROWS, SWAP_RSS, SWAP_WRONG
from benchmarks.table import short

_COLUMNS: Final = 2
_PANEL_WIDTH: Final = 430
_GAP: Final = 20
_MARGIN: Final = 16
_NAME_WIDTH: Final = 62
_VALUE_WIDTH: Final = 64
_BAR_HEIGHT: Final = 14
_BAR_STEP: Final = 19
_TITLE_HEIGHT: Final = 24
_HEAD: Final = 52
_FOOT: Final = 30

_STYLE: Final = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .head { font-size: 15px; font-weight: 600; }
  .title { font-weight: 600; }
  .faint { fill: #59636e; }
  .end { text-anchor: end; }
  .page { fill: #ffffff; }
  .bar { fill: #afb8c1; }
  .near { fill: #80b3e8; }
  .ours { fill: #0969da; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .faint { fill: #9198a1; }
    .page { fill: #0d1117; }
    .bar { fill: #565e68; }
    .near { fill: #2a5a94; }
    .ours { fill: #58a6ff; }
  }
"""

_CLASSES: Final = {"always": "ours", "off": "near", "pyfuse3": "near"}
"""Ours stands out; the other ways of zramfs stand between it and the peers."""

_UNCHARTED: Final = frozenset(
    row.name for row in (SWAP_WRONG, SWAP_RSS, *RECOMPRESS_ROWS)
)
"""Demands, not comparisons."""


def draw(results: Results) -> str:
    """Return the chart of *results* as the text of an SVG file."""
    names = [row for row in results.measured_rows() if row not in _UNCHARTED]
    body: list[str] = []
    top = _HEAD
    for start in range(0, len(names), _COLUMNS):
        height = 0
        for column, name in enumerate(names[start : start + _COLUMNS]):
            left = _MARGIN + column * (_PANEL_WIDTH + _GAP)
            sides = [side for side in results.sides if results.figures(name, side)]
            body += _panel(results, name, sides, left, top)
            height = max(height, _TITLE_HEIGHT + len(sides) * _BAR_STEP)
        top += height + _GAP
    width = 2 * _MARGIN + _COLUMNS * _PANEL_WIDTH + (_COLUMNS - 1) * _GAP
    height = top + _FOOT
    open_tag = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" '
        'aria-label="zramfs beside others: speed by kind of request">'
    )
    page = f'<rect class="page" width="{width}" height="{height}" rx="6"/>'
    return "\n".join(
        (
            open_tag,
            f"<style>{_STYLE}</style>",
            page,
            _text(_MARGIN, 26, "zramfs beside others, in one run", "head"),
            _text(_MARGIN, 43, _method(results), "faint"),
            *body,
            _text(_MARGIN, height - 18, _machine(results), "faint"),
            "</svg>\n",
        )
    )


def _panel(
    results: Results, name: str, sides: list[str], left: int, top: int
) -> Iterator[str]:
    """Yield the elements of one row, scaled to its longest bar."""
    row = ROWS[name]
    hint = "less is better" if row.lower_is_better else "more is better"
    yield _text(left, top + 12, row.title, "title")
    yield _text(left + _PANEL_WIDTH, top + 12, f"{row.unit}, {hint}", "faint end")
    medians = {side: results.median(name, side) or 0.0 for side in sides}
    room = _PANEL_WIDTH - _NAME_WIDTH - _VALUE_WIDTH
    scale = room / (max(medians.values()) or 1.0)
    for number, (side, figure) in enumerate(medians.items()):
        y = top + _TITLE_HEIGHT + number * _BAR_STEP
        x = left + _NAME_WIDTH
        length = max(figure * scale, 1.0)
        yield _text(left, y + 11, side)
        yield (
            f'<rect class="{_CLASSES.get(side, "bar")}" x="{x}" y="{y}" '
            f'width="{length:.1f}" height="{_BAR_HEIGHT}" rx="2"/>'
        )
        yield _text(x + length + 6, y + 11, short(figure))


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text{attribute} x="{x:g}" y="{y:g}">{escape(words)}</text>'


def _method(results: Results) -> str:
    return f"medians of {results.method['rounds']} rounds, {results.method['data']}"


def _machine(results: Results) -> str:
    machine = results.machine
    return ", ".join(
        (
            machine["cpu"],
            f"Linux {machine['kernel']}",
            f"Python {machine['python']}",
            machine["date"],
        )
    )
