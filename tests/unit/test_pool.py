"""zramfs.core.pool: places by class, and the memory that they hold."""

import os
from collections.abc import Iterator

import numpy as np
import pytest

from tests.backed import backed_pages
from zramfs.core.codecs import HUGE_CLASS_SIZE
from zramfs.core.header import Header
from zramfs.core.pool import HUGE_CLASS, Pool, class_of, pool_bytes
from zramfs.memory import MappedArena, MemFile
from zramfs.units import PAGE_SIZE

NR_SLOTS = 5000
BASE = PAGE_SIZE
KLASS = 64  # of 1024 bytes: four to a page


@pytest.fixture
def memory() -> Iterator[MemFile]:
    memory = MemFile()
    yield memory
    os.close(memory.fd)


@pytest.fixture
def arena(memory: MemFile) -> Iterator[MappedArena]:
    yield memory.map(BASE + pool_bytes(NR_SLOTS))
    memory.unmap()


@pytest.fixture
def pool(arena: MappedArena) -> Iterator[Pool]:
    pool = Pool(arena, BASE, NR_SLOTS, Header())
    yield pool
    pool.close()


def fill(pool: Pool, count: int, klass: int = KLASS) -> list[int]:
    """Use *count* objects, each with its index in it."""
    indexes = [pool.alloc(klass) for _ in range(count)]
    for index in indexes:
        pool.write(klass, index, index.to_bytes(4, "little") * (klass * 4))
    return indexes


def number_in(pool: Pool, index: int, klass: int = KLASS) -> int:
    return int.from_bytes(pool.read(klass, index, 4), "little")


@pytest.mark.parametrize(
    ("size", "klass"),
    [(1, 1), (16, 1), (17, 2), (62, 4), (2082, 131), (3624, 227), (4096, HUGE_CLASS)],
)
def test_there_is_a_class_for_every_16_bytes(size: int, klass: int) -> None:
    assert class_of(size) == klass


def test_the_segments_follow_each_other_and_do_not_overlap(pool: Pool) -> None:
    classes = [klass for klass, base in enumerate(pool._bases) if base]
    ends = [pool._bases[klass] + (NR_SLOTS + 1) * (klass << 4) for klass in classes]

    assert classes == [*range(1, class_of(HUGE_CLASS_SIZE - 1) + 1), HUGE_CLASS]
    assert pool._bases[1] == BASE
    assert all(
        0 <= pool._bases[after] - end < PAGE_SIZE
        for after, end in zip(classes[1:], ends, strict=False)
    )
    assert ends[-1] == BASE + pool_bytes(NR_SLOTS)


def test_a_new_pool_holds_nothing(pool: Pool, memory: MemFile) -> None:
    assert (pool.nr_pages, pool.nr_pages_max) == (0, 0)
    assert backed_pages(memory) == 0


def test_objects_keep_what_is_written_to_them(pool: Pool) -> None:
    indexes = fill(pool, 10)

    assert indexes == list(range(10))
    assert [number_in(pool, index) for index in indexes] == indexes


def test_classes_do_not_touch_each_other(pool: Pool) -> None:
    for klass in (1, 2, 226, 227, HUGE_CLASS):
        fill(pool, 3, klass)

    for klass in (1, 2, 226, 227, HUGE_CLASS):
        for index in range(3):
            stored = bytes(pool.read(klass, index, klass << 4))
            assert stored == index.to_bytes(4, "little") * (klass * 4)


def test_an_object_may_be_shorter_than_its_class(pool: Pool) -> None:
    index = pool.alloc(KLASS)
    pool.write(KLASS, index, b"short")

    assert bytes(pool.read(KLASS, index, 5)) == b"short"


def test_memory_is_held_by_whole_pages(pool: Pool, memory: MemFile) -> None:
    held = []
    for _ in range(9):
        fill(pool, 1)
        held.append(pool.nr_pages)

    assert held == [1, 1, 1, 1, 2, 2, 2, 2, 3]
    assert backed_pages(memory) == 3


def test_a_huge_object_holds_its_page(pool: Pool, memory: MemFile) -> None:
    fill(pool, 3, HUGE_CLASS)

    assert pool.nr_pages == 3 == backed_pages(memory)


def test_a_hole_is_used_again_before_the_tail_grows(pool: Pool) -> None:
    fill(pool, 10)
    pool.free(KLASS, 3)
    pool.free(KLASS, 7)

    assert {pool.alloc(KLASS), pool.alloc(KLASS)} == {3, 7}
    assert pool.alloc(KLASS) == 10


def test_a_hole_holds_its_memory_until_the_tail_ends_before_it(
    pool: Pool, memory: MemFile
) -> None:
    fill(pool, 16)
    for index in range(4, 12):
        pool.free(KLASS, index)
    assert pool.nr_pages == 4

    for index in range(12, 16):
        pool.free(KLASS, index)

    assert pool.nr_pages == 1 == backed_pages(memory)


def test_a_hole_of_huge_objects_holds_nothing(pool: Pool, memory: MemFile) -> None:
    fill(pool, 4, HUGE_CLASS)

    pool.free(HUGE_CLASS, 1)

    assert pool.nr_pages == 3 == backed_pages(memory)
    assert bytes(pool.read(HUGE_CLASS, 1, PAGE_SIZE)) == bytes(PAGE_SIZE)


def test_a_hole_of_huge_objects_holds_a_page_when_used_again(
    pool: Pool, memory: MemFile
) -> None:
    fill(pool, 4, HUGE_CLASS)
    pool.free(HUGE_CLASS, 1)

    assert fill(pool, 1, HUGE_CLASS) == [1]
    assert pool.nr_pages == 4 == backed_pages(memory)


def test_the_last_object_gives_all_memory_back(pool: Pool, memory: MemFile) -> None:
    for klass in (1, KLASS, 227, HUGE_CLASS):
        fill(pool, 100, klass)
    for klass in (1, KLASS, 227, HUGE_CLASS):
        for index in range(100):
            pool.free(klass, index)

    assert pool.nr_pages == 0 == backed_pages(memory)


def test_a_stale_index_beyond_the_tail_is_not_used(pool: Pool) -> None:
    fill(pool, 3)
    for index in (1, 2, 0):
        pool.free(KLASS, index)

    assert [pool.alloc(KLASS) for _ in range(3)] == [0, 1, 2]


def test_a_tail_that_loses_very_many_objects_takes_them_off_the_list(
    pool: Pool,
) -> None:
    fill(pool, 3000, 1)
    for index in (5, *range(10, 3000)):
        pool.free(1, index)

    assert list(pool._free[1]) == [5]


def test_the_high_water_mark_stays(pool: Pool) -> None:
    fill(pool, 16)
    for index in range(16):
        pool.free(KLASS, index)

    assert (pool.nr_pages, pool.nr_pages_max) == (0, 4)


def test_nothing_is_freed_twice(pool: Pool) -> None:
    fill(pool, 2)
    pool.free(KLASS, 0)

    with pytest.raises(AssertionError, match="class 64: object 0 is free already"):
        pool.free(KLASS, 0)


def test_live_counts_the_objects_of_each_class(pool: Pool) -> None:
    fill(pool, 10)
    pool.free(KLASS, 2)
    fill(pool, 3, 1)

    live = pool.live()

    assert live[KLASS] == 9
    assert live[1] == 3
    assert live[2] == 0


def test_no_huge_object_lies_where_compaction_would_move_it(pool: Pool) -> None:
    indexes = fill(pool, 10, HUGE_CLASS)
    pool.free(HUGE_CLASS, 2)
    before = pool.live()

    indexes += fill(pool, 10, HUGE_CLASS)

    assert max(indexes) < before[HUGE_CLASS]


def test_relocate_copies_into_the_lowest_hole(pool: Pool) -> None:
    fill(pool, 10)
    for index in (6, 2, 4):
        pool.free(KLASS, index)
    pool.sort_holes()

    assert pool.relocate(KLASS, 9) == 2
    assert number_in(pool, 2) == number_in(pool, 9) == 9


def test_relocate_finds_no_hole_above_the_object(pool: Pool) -> None:
    fill(pool, 10)
    pool.free(KLASS, 6)
    pool.sort_holes()

    assert pool.relocate(KLASS, 5) is None


def test_a_vacated_place_is_not_taken_next(pool: Pool) -> None:
    fill(pool, 10)
    pool.free(KLASS, 0)
    pool.sort_holes()
    assert pool.relocate(KLASS, 5) == 0

    pool.vacate(KLASS, 5)

    assert pool.alloc(KLASS) == 10
    pool.sort_holes()
    assert pool.alloc(KLASS) == 5


def test_vacating_the_tail_gives_its_memory_back(pool: Pool) -> None:
    fill(pool, 9)
    pool.free(KLASS, 0)
    pool.sort_holes()
    assert pool.relocate(KLASS, 8) == 0

    pool.vacate(KLASS, 8)

    assert pool.nr_pages == 2


def test_a_class_does_not_outgrow_its_segment_while_places_are_vacated(
    pool: Pool,
) -> None:
    nr_holes = NR_SLOTS // 2
    fill(pool, NR_SLOTS, 1)
    for index in range(nr_holes):
        pool.free(1, index)
    pool.sort_holes()
    for index in range(nr_holes, nr_holes + 1000):
        assert pool.relocate(1, index) is not None
        pool.vacate(1, index)

    indexes = [pool.alloc(1) for _ in range(nr_holes)]

    assert len(set(indexes)) == nr_holes
    assert max(indexes) <= NR_SLOTS


def test_many_objects_are_freed_and_their_tails_end_once(pool: Pool) -> None:
    places = [(klass, pool.alloc(klass)) for klass in (4, 4, 4, 9, 9, 9)]
    kept = [places.pop(0), places.pop(3)]

    classes, indexes = np.array(places[::-1]).T
    pool.free_many(classes, indexes)

    assert [len(used) for used in (pool._used[4], pool._used[9])] == [1, 2]
    assert [pool._used[klass][index] for klass, index in kept] == [1, 1]
    assert sorted(pool.alloc(9) for _ in range(2)) == [0, 2]
    assert sorted(pool.alloc(4) for _ in range(2)) == [1, 2]


def test_an_object_is_freed_once_also_among_many(pool: Pool) -> None:
    index, other, _ = pool.alloc(4), pool.alloc(4), pool.alloc(4)
    pool.free(4, index)

    with pytest.raises(AssertionError, match="class 4: an object is free already"):
        pool.free_many(np.array([4, 4]), np.array([other, index]))
