from xml.etree import ElementTree as ET

from benchmarks.chart import draw
from benchmarks.results import Results

_SVG = "{http://www.w3.org/2000/svg}"


def _chart() -> ET.Element:
    results = Results(
        machine={"cpu": "2 x <CPU>", "kernel": "6.18", "python": "3.11", "date": "now"},
        method={"rounds": "1", "data": "a & b"},
        sides={"always": "ours", "zram": "the kernel's"},
    )
    results.add("read-1m", "always", 1e9)
    results.add("read-1m", "zram", 2e9)
    results.add("swap-wrong", "always", 0)
    return ET.fromstring(draw(results))


def test_bars_are_as_long_as_their_figures() -> None:
    bars = [bar for bar in _chart().iter(f"{_SVG}rect") if bar.get("class") != "page"]

    (ours, theirs) = (float(bar.get("width", "0")) for bar in bars)

    assert theirs == 2 * ours


def test_every_bar_says_its_side_and_its_figure() -> None:
    words = [text.text for text in _chart().iter(f"{_SVG}text")]

    assert {"1 MiB sequential read", "always", "1000", "zram", "2000"} <= set(words)


def test_demands_that_compare_nothing_are_not_drawn() -> None:
    words = [text.text for text in _chart().iter(f"{_SVG}text")]

    assert "swap: wrong pages" not in words


def test_colours_follow_the_reader() -> None:
    style = _chart().find(f"{_SVG}style")

    assert style is not None
    assert "prefers-color-scheme: dark" in (style.text or "")
