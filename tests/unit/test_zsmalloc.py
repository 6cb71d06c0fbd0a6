"""zramfs.core.zsmalloc: the classes of the kernel's allocator."""

import pytest

from zramfs.core.codecs import HUGE_CLASS_SIZE
from zramfs.core.zsmalloc import _shape, class_index
from zramfs.units import PAGE_SIZE

# What one such object took in a new device on Linux 7.3: the pages of its class.
PAGES = {54: 1, 62: 5, 71: 5, 102: 7, 2075: 8, 2082: 8, 4096: 1}

# Classes of two sizes in scenario 52: what was recompressed moved, what was not stayed.
SMALLER = [(54, 84), (67, 84), (62, 84), (3020, 3101), (3060, 3101), (3036, 3101)]
SAME = [(2075, 2150), (2108, 2150), (2074, 2150), (2082, 2150), (82, 84)]


def test_there_are_119_classes() -> None:
    assert len({class_index(size) for size in range(PAGE_SIZE + 1)}) == 119


def test_the_last_class_begins_with_huge_objects() -> None:
    assert class_index(HUGE_CLASS_SIZE - 1) < class_index(HUGE_CLASS_SIZE)
    assert class_index(HUGE_CLASS_SIZE) == class_index(PAGE_SIZE) == 254


def test_what_compression_made_larger_is_in_the_last_class() -> None:
    assert class_index(PAGE_SIZE + 20) == class_index(1 << 20) == 254


def test_the_smallest_objects_are_in_the_first_class() -> None:
    assert class_index(0) == class_index(24) < class_index(25)


def test_classes_grow_with_the_size() -> None:
    indexes = [class_index(size) for size in range(PAGE_SIZE + 1)]

    assert indexes == sorted(indexes)


@pytest.mark.parametrize(("size", "pages"), PAGES.items())
def test_a_class_takes_pages_as_in_the_kernel(size: int, pages: int) -> None:
    assert _shape(32 + 16 * class_index(size))[0] == pages


@pytest.mark.parametrize(("new", "old"), SMALLER)
def test_these_sizes_are_worth_recompressing(new: int, old: int) -> None:
    assert class_index(new) < class_index(old)


@pytest.mark.parametrize(("new", "old"), SAME)
def test_these_sizes_share_a_class(new: int, old: int) -> None:
    assert class_index(new) == class_index(old)
