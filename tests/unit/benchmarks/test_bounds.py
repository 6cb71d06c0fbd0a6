import pytest

from benchmarks.bounds import BOUNDS, SPILL_BOUNDS, Bound
from benchmarks.results import Results
from benchmarks.rows import ROWS


def _judged(bound: Bound, *figures: tuple[str, str, float]) -> tuple[object, object]:
    results = Results(machine={}, method={})
    for row, side, figure in figures:
        results.add(row, side, figure)
    record = bound.judge(results)
    return record["value"], record["holds"]


@pytest.mark.parametrize(("ours", "holds"), [(90, True), (89, False)])
def test_a_ratio_holds_from_its_bound_on(ours: int, holds: bool) -> None:  # noqa: FBT001  # parametrised
    bound = Bound(row="read-1m", against="zram", bound=0.9, at_least=True)

    judged = _judged(bound, ("read-1m", "always", ours), ("read-1m", "zram", 100))

    assert judged == (ours / 100, holds)


def test_a_figure_without_a_peer_is_judged_by_its_worst_round() -> None:
    bound = Bound(row="swap-wrong", against=None, bound=0, at_least=False)

    judged = _judged(bound, ("swap-wrong", "always", 0), ("swap-wrong", "always", 3))

    assert judged == (3, False)


def test_the_worst_round_of_what_should_be_large_is_the_smallest() -> None:
    bound = Bound(row="recompress-ratio", against=None, bound=0.7, at_least=True)
    name = "recompress-ratio"

    assert _judged(bound, (name, "always", 0.9), (name, "always", 0.6)) == (0.6, False)


def test_what_was_not_measured_neither_holds_nor_fails() -> None:
    bound = Bound(row="read-1m", against="zram", bound=0.9, at_least=True)

    assert _judged(bound, ("read-1m", "always", 1)) == (None, None)


def test_every_bound_is_of_a_row_that_exists() -> None:
    assert {bound.row for bound in (*BOUNDS, *SPILL_BOUNDS)} <= ROWS.keys()


def test_the_bounds_are_those_that_were_asked_for() -> None:
    asked = {
        (bound.row, bound.against): bound.bound for bound in (*BOUNDS, *SPILL_BOUNDS)
    }

    assert asked == {
        ("randread-4k-qd1", "ramfile"): 0.6,
        ("randwrite-4k-qd1", "ramfile"): 0.6,
        ("randread-4k-qd16", "ramfile"): 0.9,
        ("randwrite-4k-qd16", "ramfile"): 0.9,
        ("randread-4k-qd1", "pyfuse3"): 2,
        ("randwrite-4k-qd1", "pyfuse3"): 2,
        ("randread-4k-qd16", "pyfuse3"): 2.5,
        ("randwrite-4k-qd16", "pyfuse3"): 2.5,
        ("randread-4k-qd1", "nbdfuse"): 4,
        ("randwrite-4k-qd1", "nbdfuse"): 4,
        ("randread-4k-qd16", "nbdfuse"): 4,
        ("randwrite-4k-qd16", "nbdfuse"): 4,
        ("read-1m", "nbdfuse"): 2,
        ("write-1m", "zram"): 0.8,
        ("swap-fill", "zram"): 1.1,
        ("swap-verify", "zram"): 1.4,
        ("swap-touch", "zram"): 0.45,
        ("swap-wrong", None): 0,
        ("swap-rss", None): 32,
        ("recompress-ratio", None): 0.7,
        ("spill-latency", "fio"): 1.8,
        ("spill-reads", "fio"): 0.4,
        ("spill-write", "dd"): 0.6,
        ("spill-grown", None): 64,
        ("spill-shrunk", None): 95,
    }
