import json

import pytest

from benchmarks.results import Results


def _results() -> Results:
    return Results(machine={"kernel": "6.18"}, method={"rounds": "3"})


def test_figures_are_in_the_unit_of_their_row() -> None:
    results = _results()

    results.add("randread-4k-qd1", "always", 50_000)

    assert results.figures("randread-4k-qd1", "always") == [50.0]


def test_what_was_not_measured_has_no_median_and_no_ratio() -> None:
    results = _results()
    results.add("read-1m", "always", 1e9)

    median = results.median("read-1m", "zram")
    ratio = results.ratio("read-1m", "always", "zram")

    assert (median, ratio) == (None, None)


def test_a_ratio_is_within_rounds_so_that_a_slow_one_counts_for_both() -> None:
    results = _results()
    for ours, theirs in ((100, 50), (10, 5), (90, 30)):
        results.add("swap-fill", "always", ours)
        results.add("swap-fill", "zram", theirs)

    assert results.ratio("swap-fill", "always", "zram") == 2.0


def test_the_spread_is_a_part_of_the_median() -> None:
    results = _results()
    for figure in (8, 10, 14):
        results.add("swap-fill", "zram", figure)

    assert results.spread("swap-fill", "zram") == pytest.approx(0.6)


def test_json_has_the_rows_in_their_order_with_all_rounds() -> None:
    results = _results()
    results.add("swap-fill", "zram", 3)
    results.add("read-1m", "zram", 1.23456e9)
    results.add("read-1m", "zram", 1e9)

    record = json.loads(results.to_json([]))

    assert list(record["rows"]) == ["read-1m", "swap-fill"]
    assert record["rows"]["read-1m"]["rounds"] == {"zram": [1235.0, 1000.0]}
    assert record["machine"] == {"kernel": "6.18"}
