"""The size classes of the kernel's allocator, for the decisions that rest on them.

Our pool has classes of its own. But whether recompression helped is asked in terms
of zsmalloc's: a page that lands in the same class keeps its object there, and is
marked incompressible. To mark the same pages, the same classes are needed
(``mm/zsmalloc.c``, Linux 7.3: 4 KiB pages, 16 bytes apart, chains of up to 8 pages).
"""

from typing import Final

from zramfs.units import PAGE_SIZE

_MIN_ALLOC: Final = 32
_CLASS_DELTA: Final = 16
_HANDLE: Final = 8  # in front of each object
_CHAIN: Final = 8  # CONFIG_ZSMALLOC_CHAIN_SIZE


def _shape(size: int) -> tuple[int, int]:
    """Return pages and objects of a zspage: the shape that wastes least."""
    pages = 1
    if size & (size - 1):
        pages = min(range(1, _CHAIN + 1), key=lambda nr: nr * PAGE_SIZE % size)
    return pages, pages * PAGE_SIZE // size


def _classes() -> tuple[int, ...]:
    """Return, for each nominal class, the one that it was merged into.

    A class whose zspages have the shape of the next larger one's is that one.
    """
    sizes = range(_MIN_ALLOC, PAGE_SIZE + 1, _CLASS_DELTA)
    merged = list(range(len(sizes)))
    for index in reversed(range(len(sizes) - 1)):
        if _shape(sizes[index]) == _shape(sizes[merged[index + 1]]):
            merged[index] = merged[index + 1]
    return tuple(merged)


def _class_indexes() -> bytes:
    """Return the class of an object of each size up to a page."""
    merged = _classes()
    steps = (
        -(-(size + _HANDLE - _MIN_ALLOC) // _CLASS_DELTA)
        for size in range(PAGE_SIZE + 1)
    )
    return bytes(merged[min(max(step, 0), len(merged) - 1)] for step in steps)


_CLASS_INDEXES: Final = _class_indexes()


def class_index(size: int) -> int:
    """Return the class of an object of *size* bytes, as zs_lookup_class_index()."""
    return _CLASS_INDEXES[min(size, PAGE_SIZE)]
