"""zramfs.core.store: discard by steps, data and holes, flags."""

import os
from collections.abc import Iterator

import pytest

from tests.unit.conftest import NR_SLOTS
from tests.unit.storing import write
from zramfs.core import slots
from zramfs.core.codecs import open_codec
from zramfs.core.device import Device
from zramfs.core.header import HEADER_BYTES
from zramfs.core.layout import Layout
from zramfs.core.store import Store
from zramfs.memory import MappedArena, MemFile
from zramfs.units import PAGE_SIZE, PageIndex

FIRST = PageIndex(0)
LAST = PageIndex(NR_SLOTS - 1)


def test_discard_goes_by_bounded_steps(bare: Device) -> None:
    nr_slots = 300
    bare.set_disksize(nr_slots * PAGE_SIZE)
    write(bare.store, "zero", *range(nr_slots))

    left = [bare.store.pages_stored for _ in bare.store.discard(FIRST, nr_slots)]

    assert left == [nr_slots - 128, nr_slots - 256]
    assert bare.store.pages_stored == 0


def test_discard_counts_what_it_has_not_yet_come_to(device: Device) -> None:
    steps = device.store.discard(FIRST, 10)
    list(steps)

    assert device.counters.notify_free == 10


@pytest.mark.parametrize(
    ("kind", "known"),
    [("zero", True), ("same:7", False), ("text", False), ("rand", False)],
)
def test_a_page_of_zeros_is_known_without_reading_it(
    store: Store, kind: str, *, known: bool
) -> None:
    write(store, kind, 0)
    store._words[0] |= slots.NO_WB

    assert store.table.is_zero(FIRST) is known
    assert store.table.is_zero(LAST)


def test_data_and_holes_are_found_in_the_table(store: Store) -> None:
    write(store, "text", 3, 4, 5, 9)
    write(store, "zero", 5, 10)
    write(store, "same:7", 20)

    assert [store.table.next_data(index) for index in (0, 3, 4, 5, 9, 10, 20)] == [
        *(3, 3, 4, 9, 9, 20, 20)
    ]
    assert store.table.next_data(21) is None
    assert [store.table.next_hole(index) for index in (0, 3, 4, 5, 9, 10, 20)] == [
        *(0, 5, 5, 5, 10, 10, 21)
    ]


def test_an_empty_device_is_one_hole(store: Store) -> None:
    assert store.table.next_data(0) is None
    assert store.table.next_hole(0) == 0
    assert store.table.next_hole(NR_SLOTS - 1) == NR_SLOTS - 1


def test_a_full_device_has_its_hole_at_the_end(store: Store) -> None:
    write(store, "text", *range(NR_SLOTS))

    assert store.table.next_hole(0) == store.table.next_hole(NR_SLOTS - 1) == NR_SLOTS


def test_a_hole_between_two_pages_of_the_table_is_found(bare: Device) -> None:
    in_a_page = PAGE_SIZE // slots.SLOT_BYTES
    bare.set_disksize(4 * in_a_page * PAGE_SIZE)
    write(bare.store, "zero", 0)
    write(bare.store, "same:7", *range(in_a_page), 3 * in_a_page)

    assert bare.store.table.next_hole(0) == in_a_page
    assert bare.store.table.next_data(in_a_page) == 3 * in_a_page


class CountingArena(MappedArena):
    """Counts how much of the table was asked for."""

    asked = 0

    def written(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        self.asked += stop - start
        return super().written(start, stop)


def test_what_is_near_is_found_without_looking_far() -> None:
    nr_slots = 1 << 20
    memory = MemFile()
    layout = Layout(nr_slots=nr_slots)
    length = layout.nr_bytes
    os.ftruncate(memory.fd, HEADER_BYTES + length)
    arena = CountingArena(memory.fd, length)
    store = Store(arena, layout, [open_codec("lz4")], memory.header)
    write(store, "same:7", *range(0, 100, 2), 70_000)

    found = [
        (store.table.next_data(index), store.table.next_hole(index))
        for index in range(98)
    ]
    slots_asked = arena.asked // slots.SLOT_BYTES
    far = store.table.next_data(99)
    store.close()
    arena.close()
    os.close(memory.fd)

    assert found == [(-(-index // 2) * 2, index // 2 * 2 + 1) for index in range(98)]
    assert far == 70_000
    assert slots_asked <= 98 * 2 * 1024


def test_slots_are_counted_by_flag(store: Store) -> None:
    write(store, "rand", 0, 1, LAST)
    write(store, "zero", 2)

    assert store.table.nr_flagged(slots.HUGE) == 3
    assert store.table.nr_flagged(slots.SAME) == 1
    assert store.table.nr_flagged(slots.IDLE) == 0


def test_a_read_may_set_a_mark(store: Store) -> None:
    write(store, "text", 0)
    store._words[0] |= slots.IDLE
    store.read(FIRST, slots.NO_WB)
    store.read(LAST, slots.NO_WB)

    assert store._words[0] & (slots.NO_WB | slots.IDLE) == slots.NO_WB
    assert store._words[LAST] == 0
