"""Ranges of bytes, as whole pages and edges: what a request asks a store for.

Callers cut a range at the end of the device. A page of which only a part is written
is read, changed and written.
"""

from typing import Final

from zramfs.core.steps import Steps
from zramfs.core.store import Store
from zramfs.units import PAGE_SHIFT, PAGE_SIZE, PageIndex

IN_PAGE: Final = PAGE_SIZE - 1
"""The bits of an offset that say where in its page it lies."""


def read_range(store: Store, offset: int, length: int, mark: int) -> bytes:
    """Return *length* bytes at *offset*, setting the flags *mark* in their slots."""
    read = store.read
    first = offset >> PAGE_SHIFT
    end = (offset + length + IN_PAGE) >> PAGE_SHIFT
    data = b"".join([read(PageIndex(i), mark) for i in range(first, end)])
    skip = offset & IN_PAGE
    return data if len(data) == length else data[skip : skip + length]


def write_range(store: Store, offset: int, data: memoryview) -> None:
    """Store *data* at *offset*, the pages before the first that cannot be stored."""
    done = 0
    while done < len(data):
        index = PageIndex((offset + done) >> PAGE_SHIFT)
        start = (offset + done) & IN_PAGE
        piece = data[done : done + PAGE_SIZE - start]
        if len(piece) == PAGE_SIZE:
            store.write(index, piece)
        else:
            page = bytearray(store.read(index))
            page[start : start + len(piece)] = piece
            store.write(index, memoryview(page))
        done += len(piece)


def discard_range(store: Store, start: int, end: int) -> Steps:
    """Make the bytes in [start, end) zero, in bounded steps; free whole pages."""
    first = -(-start >> PAGE_SHIFT)
    last = end >> PAGE_SHIFT
    if first > last:  # within one page
        _zero(store, start, end)
        return
    _zero(store, start, first << PAGE_SHIFT)
    _zero(store, last << PAGE_SHIFT, end)
    yield from store.discard(PageIndex(first), last - first)


def _zero(store: Store, start: int, end: int) -> None:
    """Overwrite the bytes of a part of a page, if a page is stored there."""
    if start < end and not store.table.is_zero(PageIndex(start >> PAGE_SHIFT)):
        write_range(store, start, memoryview(bytes(end - start)))
