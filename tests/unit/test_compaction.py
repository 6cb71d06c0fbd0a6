"""zramfs.core.store: compaction, step by step, and what happens between steps."""

from tests.pages import make_page
from tests.unit.conftest import NR_SLOTS
from tests.unit.storing import discard, holds, write
from tests.verify import used_slots, verify
from zramfs.core import slots
from zramfs.core.device import Device
from zramfs.core.pool import HUGE_CLASS
from zramfs.core.store import Store
from zramfs.units import PAGE_SIZE, PageIndex


def test_compaction_gives_the_pages_of_the_holes_back(device: Device) -> None:
    store = device.store
    write(store, "half", *range(NR_SLOTS))
    for index in range(NR_SLOTS):
        if index % 8:
            store.free(PageIndex(index))
    before = store.pool_pages

    assert list(store.compact()) == [None]

    assert holds(store, "half", *range(0, NR_SLOTS, 8))
    assert device.counters.pages_compacted == before - store.pool_pages > 0
    assert store.pool_pages == -(-8 * 2096 // PAGE_SIZE)


def test_compaction_keeps_the_marks_of_a_page(store: Store) -> None:
    write(store, "half", *range(8))
    discard(store, 0, 7)
    marks = slots.IDLE | slots.NO_WB
    store._words[7] |= marks

    list(store.compact())

    assert used_slots(store)[0].place[1] == 0
    assert store._words[7] & marks == marks


def test_compaction_leaves_same_filled_and_huge_pages_alone(store: Store) -> None:
    write(store, "rand", *range(8))
    write(store, "same:7", *range(8, 16))
    discard(store, 0, 7)
    before = used_slots(store)

    list(store.compact())

    assert used_slots(store) == before


def test_compaction_of_an_empty_device_has_no_steps(store: Store) -> None:
    assert list(store.compact()) == []


def test_compaction_goes_by_bounded_steps(bare: Device) -> None:
    nr_slots = 1024
    bare.set_disksize(nr_slots * PAGE_SIZE)
    store = bare.store
    for index in range(nr_slots):
        store.write(PageIndex(index), memoryview(make_page("text")))
    discard(store, 0, nr_slots // 2)

    moved = []
    for _ in store.compact():
        low = sum(slot.payload < nr_slots // 2 for slot in used_slots(store))
        moved.append(low)

    assert moved == [0, 256, 512]


def test_compaction_can_be_left_at_any_step(store: Store) -> None:
    write(store, "half", *range(16))
    discard(store, 0, 8)
    steps = store.compact()
    next(steps)

    del steps

    assert holds(store, "half", *range(8, 16))


def test_compaction_passes_over_what_was_freed_meanwhile(store: Store) -> None:
    write(store, "half", *range(16))
    discard(store, 0, 8)
    steps = store.compact()
    next(steps)
    discard(store, 12, 4)

    list(steps)

    assert holds(store, "half", *range(8, 12))
    assert {slot.payload for slot in used_slots(store)} == set(range(4))


def test_compaction_passes_over_what_was_overwritten_meanwhile(store: Store) -> None:
    write(store, "half", *range(16))
    discard(store, 0, 8)
    steps = store.compact()
    next(steps)
    write(store, "zero", 15)
    write(store, "half", 14)
    write(store, "rand", 13)

    list(steps)

    assert holds(store, "half", *range(8, 13), 14)
    assert holds(store, "rand", 13)
    assert holds(store, "zero", 15)


def test_compaction_moves_nothing_when_the_holes_are_gone(store: Store) -> None:
    write(store, "half", *range(16))
    discard(store, 0, 8)
    steps = store.compact()
    next(steps)
    write(store, "half", *range(8))
    before = used_slots(store)

    list(steps)

    assert used_slots(store) == before


def test_compaction_passes_over_written_back_pages(store: Store) -> None:
    write(store, "half", *range(3))
    store.free(PageIndex(0))
    resident = used_slots(store)[0]
    steps = store.compact()
    next(steps)
    block = (1 << 40 << slots.PAYLOAD_SHIFT) % (1 << 64)
    store._words[1] = resident.word & slots.SIZE_MASK | slots.WB | block

    list(steps)

    assert store._words[1] & slots.WB
    store._words[1] = resident.word


def test_compaction_does_not_move_a_huge_page_stored_meanwhile(store: Store) -> None:
    write(store, "half", *range(8))
    write(store, "rand", 8, 9)
    discard(store, 0, 4)
    steps = store.compact()
    next(steps)
    write(store, "rand", 7, 6)
    store.free(PageIndex(8))

    list(steps)

    place = {slot.index: slot.place for slot in used_slots(store)}
    assert place[7] == (HUGE_CLASS, 2)
    assert holds(store, "rand", 6, 7, 9)


def test_writes_during_a_compaction_stay_in_their_class(bare: Device) -> None:
    nr_slots = 1024
    bare.set_disksize(nr_slots * PAGE_SIZE)
    store = bare.store
    kind = "part:500"
    write(store, kind, *range(nr_slots))
    discard(store, 0, nr_slots // 2)
    steps = store.compact()
    next(steps)
    next(steps)

    write(store, kind, *range(nr_slots // 2))

    verify(bare, in_pass=True)
    list(steps)
    assert holds(store, kind, *range(nr_slots))


def test_waste_is_what_compaction_gives_back(store: Store) -> None:
    write(store, "half", *range(NR_SLOTS))
    for index in range(NR_SLOTS):
        if index % 8:
            store.free(PageIndex(index))
    before, held = store.waste, store.pool_pages

    list(store.compact())

    # An object of 2082 bytes is estimated at 2090, and takes 2096.
    assert before - store.waste == (held - store.pool_pages) * PAGE_SIZE
    assert store.waste < PAGE_SIZE <= before


def test_nothing_is_wasted_on_same_filled_pages(store: Store) -> None:
    write(store, "same:7", *range(NR_SLOTS))

    assert store.waste == 0
