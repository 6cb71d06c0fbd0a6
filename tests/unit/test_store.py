"""zramfs.core.store: how a page is kept, found again, given up and moved."""

import pytest

from tests.pages import make_page, part_of_size
from tests.unit.conftest import NR_SLOTS
from tests.unit.storing import discard, holds, write
from tests.verify import peek, used_slots
from zramfs.core import slots
from zramfs.core.codecs import ALGORITHMS, open_codec
from zramfs.core.device import Device
from zramfs.core.store import Store
from zramfs.errors import CorruptPage, MemoryLimitExceeded
from zramfs.units import PAGE_SIZE, PageIndex

ZERO = make_page("zero")
FIRST = PageIndex(0)
LAST = PageIndex(NR_SLOTS - 1)

# What mm_stat shows of one stored page, and the flags of its slot.
KEPT = {
    "zero": (0, 1, 0, slots.SAME),
    "same:7": (0, 1, 0, slots.SAME),
    "same:ffffffffffffffff": (0, 1, 0, slots.SAME),
    "near": (33, 0, 0, 0),
    "text": (62, 0, 0, 0),
    "half": (2082, 0, 0, 0),
    "part:3587": (3624, 0, 0, 0),
    "part:3588": (4096, 0, 1, slots.HUGE),
    "rand": (4096, 0, 1, slots.HUGE),
}


def word_of(store: Store, index: int) -> int:
    return next((slot.word for slot in used_slots(store) if slot.index == index), 0)


def counts(store: Store) -> tuple[int, int, int]:
    return store.compr_data_size, store.same_pages, store.huge_pages


def test_what_was_never_written_is_zeros_and_leaves_no_trace(store: Store) -> None:
    assert store.read(FIRST) == store.read(LAST) == ZERO
    assert used_slots(store) == []
    assert store.pool_pages == 0


@pytest.mark.parametrize(("kind", "kept"), KEPT.items())
def test_a_page_is_kept_as_the_kernel_keeps_it(
    store: Store, kind: str, kept: tuple[int, int, int, int]
) -> None:
    write(store, kind, 0)

    assert counts(store) == kept[:3]
    assert word_of(store, 0) & (slots.SAME | slots.HUGE | slots.WB) == kept[3]
    assert store.pages_stored == 1


def test_the_pages_around_the_huge_threshold_are_what_they_claim() -> None:
    assert (part_of_size(3624), part_of_size(3625)) == ("part:3587", "part:3588")


@pytest.mark.parametrize("kind", KEPT)
def test_a_page_comes_back_as_it_was(store: Store, kind: str) -> None:
    write(store, kind, 0, 1, LAST)

    assert holds(store, kind, 0, 1, LAST)
    assert store.read(PageIndex(2)) == ZERO


def test_the_caller_may_reuse_its_page(store: Store) -> None:
    page = bytearray(make_page("rand"))
    store.write(FIRST, memoryview(page))
    page[:] = ZERO

    assert holds(store, "rand", 0)


@pytest.mark.parametrize("before", KEPT)
@pytest.mark.parametrize("after", KEPT)
def test_overwriting_gives_up_all_of_the_old_page(
    store: Store, before: str, after: str
) -> None:
    write(store, before, 0)
    write(store, after, 0)

    assert holds(store, after, 0)
    assert counts(store) == KEPT[after][:3]
    assert store.pages_stored == 1


@pytest.mark.parametrize("kind", KEPT)
def test_freeing_gives_up_all_of_the_page(store: Store, kind: str) -> None:
    write(store, kind, 0)
    store.free(FIRST)

    assert store.read(FIRST) == ZERO
    assert (*counts(store), store.pages_stored, store.pool_pages) == (0, 0, 0, 0, 0)


def test_an_empty_slot_can_be_freed(store: Store) -> None:
    store.free(FIRST)

    assert store.pages_stored == 0


def test_an_overwrite_holds_old_and_new_for_a_moment(store: Store) -> None:
    write(store, "rand", 0)
    write(store, "rand:2", 0)

    assert (store.pool_pages, store.pool_pages_max) == (1, 2)


def test_the_high_water_mark_begins_anew_at_what_is_held(store: Store) -> None:
    write(store, "rand", 0, 1, 2)
    discard(store, 0, 2)
    store.reset_pool_pages_max()

    assert store.pool_pages_max == store.pool_pages == 1


def test_huge_pages_since_counts_every_store(device: Device) -> None:
    for kind in ("rand", "rand", "zero", "rand"):
        write(device.store, kind, 0)

    assert device.counters.huge_pages_since == 3


def test_pages_of_zeros_take_no_fill_words(store: Store) -> None:
    write(store, "zero", *range(NR_SLOTS))

    written = store.table._arena.written(0, len(store.table._arena.view))
    words, access_times = PAGE_SIZE, PAGE_SIZE
    assert list(written) == [(0, words + access_times)]


def test_zeros_replace_a_fill_word_and_are_replaced(store: Store) -> None:
    for kind in ("same:7", "zero", "same:8", "same:9", "zero", "same:9"):
        write(store, kind, 0)
        assert holds(store, kind, 0)


@pytest.mark.parametrize("kind", ["rand", "text"])
def test_a_page_over_the_limit_is_refused_and_the_old_one_intact(
    device: Device, kind: str
) -> None:
    store = device.store
    device.set_mem_limit(2 * PAGE_SIZE)
    write(store, "rand", 0, 1)
    before = counts(store)

    with pytest.raises(MemoryLimitExceeded, match="page 1: 2 pages in use"):
        write(store, kind, 1)

    assert holds(store, "rand", 0, 1)
    assert counts(store) == before
    assert (store.pool_pages, store.pool_pages_max) == (2, 3)


def test_pages_up_to_the_limit_are_stored(device: Device) -> None:
    store = device.store
    device.set_mem_limit(2 * PAGE_SIZE)
    write(store, "rand", 0, 1)

    assert store.pool_pages == 2


def test_same_filled_pages_are_stored_over_the_limit(device: Device) -> None:
    store = device.store
    write(store, "rand", 0, 1, 2)
    device.set_mem_limit(PAGE_SIZE)
    write(store, "zero", 3)
    write(store, "same:7", 4)

    assert store.same_pages == 2


def test_zeros_make_room_under_the_limit(device: Device) -> None:
    store = device.store
    device.set_mem_limit(PAGE_SIZE)
    write(store, "rand", 0)
    write(store, "zero", 0)
    write(store, "rand", 1)

    assert holds(store, "rand", 1)


def test_reads_and_writes_note_the_time_and_freeing_forgets_it(store: Store) -> None:
    store.now_s = 5
    write(store, "text", 0, 1, 2)
    store.now_s = 9
    store.read(PageIndex(1))
    store.free(PageIndex(2))

    assert store._ac_time[:3].tolist() == [5, 9, 0]


@pytest.mark.parametrize("kind", ["same:7", "text", "rand"])
def test_a_read_takes_the_marks_off_and_a_peek_does_not(
    store: Store, kind: str
) -> None:
    write(store, kind, 0)
    kept = word_of(store, 0)
    store._words[0] = kept | slots.IDLE | slots.PP_SLOT | slots.NO_WB
    slot = used_slots(store)[0]
    assert peek(store, slot) == make_page(kind)
    assert word_of(store, 0) == slot.word

    store.read(FIRST)

    assert word_of(store, 0) == kept | slots.NO_WB


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("broken", [b"", b"\xff" * 62])
def test_a_corrupt_object_is_reported(bare: Device, name: str, broken: bytes) -> None:
    bare.set_algorithm(0, name)
    bare.set_disksize(NR_SLOTS * PAGE_SIZE)
    write(bare.store, "text", 0)
    slot = used_slots(bare.store)[0]
    bare.store._pool.write(*slot.place, broken.ljust(slot.size, b"\xff"))

    with pytest.raises(CorruptPage, match=rf"^page 0: {name}: "):
        bare.store.read(FIRST)


def test_an_object_of_less_than_a_page_is_reported(store: Store) -> None:
    write(store, "text", 0)
    slot = used_slots(store)[0]
    short = open_codec("lz4").compress(make_page("text")[:4000])
    assert len(short) == slot.size
    store._pool.write(*slot.place, short)

    with pytest.raises(CorruptPage, match=r"^page 0: lz4: 4000 bytes"):
        store.read(FIRST)


def test_discard_empties_whole_ranges_and_counts_every_page(device: Device) -> None:
    store = device.store
    write(store, "rand", *range(0, NR_SLOTS, 2))

    discard(store, 1, 10)

    assert [slot.index for slot in used_slots(store)] == [0, *range(12, NR_SLOTS, 2)]
    assert device.counters.notify_free == 10


def test_discard_of_what_was_never_written_touches_nothing(device: Device) -> None:
    discard(device.store, 0, NR_SLOTS)

    assert (
        list(device.store.table._arena.written(0, len(device.store.table._arena.view)))
        == []
    )
    assert device.counters.notify_free == NR_SLOTS
