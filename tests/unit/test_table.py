"""zramfs.core.table: what is done with many slots at once."""

import pytest

from tests.unit.conftest import NR_SLOTS
from tests.unit.passes import run
from tests.unit.storing import write
from zramfs.core import slots
from zramfs.core.device import Device
from zramfs.core.store import Store
from zramfs.core.table import table_bytes
from zramfs.units import PAGE_SIZE, PageIndex


def idle(store: Store) -> list[int]:
    return [index for index, word in enumerate(store.table.words) if word & slots.IDLE]


@pytest.fixture
def aged(store: Store) -> Store:
    """Pages 0 to 3, accessed at 10, 20, 30 and 40."""
    for index in range(4):
        store.now_s = 10 * (index + 1)
        write(store, "text", index)
    return store


def test_a_table_is_three_arrays_of_whole_pages() -> None:
    assert table_bytes(1) == 3 * PAGE_SIZE
    assert table_bytes(1024) == (2 + 1 + 2) * PAGE_SIZE


def test_all_stored_pages_are_marked_idle(aged: Store) -> None:
    run(aged.table.mark_idle(None))

    assert idle(aged) == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["zero", "same:7"])
@pytest.mark.parametrize("before_s", [None, 100])
def test_a_same_filled_page_is_never_idle(
    store: Store, kind: str, before_s: int | None
) -> None:
    write(store, kind, 0)
    write(store, "rand", 1)

    run(store.table.mark_idle(before_s))

    assert idle(store) == [1]


@pytest.mark.parametrize("before_s", [None, 100])
def test_a_written_back_page_is_never_idle(aged: Store, before_s: int | None) -> None:
    resident = aged.table.words[2]
    aged.table.words[2] |= slots.WB

    run(aged.table.mark_idle(before_s))

    assert idle(aged) == [0, 1, 3]
    aged.table.words[2] = resident


def test_an_age_marks_what_was_accessed_before_and_nothing_else(aged: Store) -> None:
    run(aged.table.mark_idle(30))

    assert idle(aged) == [0, 1]


def test_an_age_takes_the_mark_off_what_is_younger(aged: Store) -> None:
    run(aged.table.mark_idle(None))

    run(aged.table.mark_idle(20))

    assert idle(aged) == [0]


def test_a_read_makes_a_page_young(aged: Store) -> None:
    aged.read(PageIndex(0))

    run(aged.table.mark_idle(40))

    assert idle(aged) == [1, 2]


def test_marking_keeps_everything_else(aged: Store) -> None:
    before = aged.table.words.tolist()
    run(aged.table.mark_idle(None))
    run(aged.table.mark_idle(0))

    assert aged.table.words.tolist() == before


def test_an_empty_table_is_not_touched(store: Store) -> None:
    assert list(store.table.mark_idle(None)) == []
    store.table.unmark(slots.IDLE)

    assert list(store.table._arena.written(0, table_bytes(NR_SLOTS))) == []


def test_a_scan_goes_in_bounded_steps(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zramfs.core.table._SCAN_SLOTS", 16)
    store = device.store
    write(store, "text", *range(NR_SLOTS))

    marked = [len(idle(store)) for _ in store.table.mark_idle(None)]

    assert marked[:4] == [16, 32, 48, 64]


def test_a_mark_is_taken_off_wherever_it_is(store: Store) -> None:
    write(store, "text", 0, 5, 9)
    run(store.table.mark_idle(None))
    store.table.words[5] |= slots.PP_SLOT

    store.table.unmark(slots.PP_SLOT)

    assert store.table.nr_flagged(slots.PP_SLOT) == 0
    assert idle(store) == [0, 5, 9]


def test_stored_pages_are_found_from_anywhere_and_as_many_as_asked(
    store: Store,
) -> None:
    write(store, "text", 1, 3)
    write(store, "zero", 7)

    assert store.table.allocated(0, 9) == [1, 3, 7]
    assert store.table.allocated(0, 2) == [1, 3]
    assert store.table.allocated(2, 1) == [3]
    assert store.table.allocated(8, 9) == []
    assert store.table.allocated(NR_SLOTS, 9) == []


def test_stored_pages_are_found_over_the_steps_of_a_scan(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zramfs.core.table._SCAN_SLOTS", 8)
    write(store, "text", *range(0, NR_SLOTS, 5))

    assert store.table.allocated(0, 99) == list(range(0, NR_SLOTS, 5))
