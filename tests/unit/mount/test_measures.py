"""zramfs.mount.measures: lines that say what holds, and are read again."""

import pytest

from zramfs.mount.measures import Measure, parse_measure, show_measures

REFUSED = Measure(name="x", refusal="not (now)", consequence="it may rain; (wait)")
MISSING = Measure(name="x", refusal="no", consequence="it rains: wait", essential=True)

LINES = {
    "x y: ok": Measure(name="x y"),
    "x: ok (3 of (3))": Measure(name="x", fact="3 of (3)"),
    "x: refused (no): it may rain; (wait)": Measure(
        name="x", refusal="no", consequence="it may rain; (wait)"
    ),
    "x: refused, essential (no): it rains: wait": MISSING,
}


@pytest.mark.parametrize("line", LINES)
def test_a_measure_is_a_line(line: str) -> None:
    assert str(LINES[line]) == line


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_read_again(line: str) -> None:
    assert parse_measure(line) == LINES[line]


def test_a_reason_may_have_parentheses() -> None:
    assert str(parse_measure(str(REFUSED))) == str(REFUSED)


def test_an_essential_measure_that_holds_is_but_ok() -> None:
    measure = Measure(name="x", essential=True)

    assert str(measure) == "x: ok"
    assert not measure.is_missing


def test_only_what_is_essential_and_refused_is_missing() -> None:
    assert MISSING.is_missing
    assert not REFUSED.is_missing


@pytest.mark.parametrize("line", ["", "x", "x: fine", "x: refused", ": ok"])
def test_another_line_is_no_measure(line: str) -> None:
    with pytest.raises(ValueError, match="not a measure"):
        parse_measure(line)


def test_each_has_a_line() -> None:
    assert show_measures([MISSING, REFUSED]) == f"{MISSING}\n{REFUSED}\n"
