"""Ranges of bytes, as whole pages and edges: what a request asks a store for.

Callers cut a range at the end of the device. A page of which only a part is written
is an edge: it is read, changed and written. What must be read and is written back
is NotResident, before anything is changed; a `Plan` says what to wait for then.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from zramfs.core.blocks import Blocks
from zramfs.core.reader import MANY
from zramfs.core.slots import WB
from zramfs.core.spilled import Spilled
from zramfs.core.steps import Steps
from zramfs.core.store import Store
from zramfs.errors import NoData, NotResident
from zramfs.units import PAGE_SHIFT, PAGE_SIZE, PageIndex

IN_PAGE: Final = PAGE_SIZE - 1
"""The bits of an offset that say where in its page it lies."""

Fetched = Mapping[Spilled, bytes]
"""Pages that were waited for."""

NOTHING: Final[Fetched] = {}


@dataclass(slots=True, eq=False)
class Plan:
    """What a request has to read: pages, and what to wait for of the others.

    The blocks of these are pinned until `close`.
    """

    blocks: Blocks
    offset: int
    """Where in the first page the bytes begin that are asked for."""
    length: int
    pages: list[bytes | Spilled] = field(default_factory=list)
    spilled: list[Spilled] = field(default_factory=list)
    """Those of the pages that are to be waited for."""

    def join(self, fetched: Fetched) -> bytes:
        """Return the bytes asked for, with all that was waited for in *fetched*."""
        pages = [
            fetched[page] if isinstance(page, Spilled) else page for page in self.pages
        ]
        data = b"".join(pages)
        if len(data) == self.length:
            return data
        return data[self.offset : self.offset + self.length]

    def close(self) -> None:
        """Unpin the blocks."""
        for page in self.spilled:
            self.blocks.unpin(page.block)


def _indexes(offset: int, length: int) -> range:
    return range(offset >> PAGE_SHIFT, (offset + length + IN_PAGE) >> PAGE_SHIFT)


def _edges(offset: int, length: int) -> Iterator[int]:
    """Yield the pages of which only a part lies in the range, which may be empty."""
    if length <= 0:
        return
    indexes = _indexes(offset, length)
    if offset & IN_PAGE:
        yield indexes[0]
    if (offset + length) & IN_PAGE and not (offset & IN_PAGE and len(indexes) == 1):
        yield indexes[-1]


def plan_read(store: Store, offset: int, length: int) -> Plan:
    """Read what is resident of a range, and plan the rest."""
    return _plan(store, offset, length, _indexes(offset, length))


def plan_edges(store: Store, offset: int, length: int) -> Plan:
    """Plan to read those edges of a range that are written back."""
    edges = _edges(offset, length)
    indexes = [index for index in edges if store.table.is_spilled(PageIndex(index))]
    return _plan(store, offset, length, indexes)


def _plan(store: Store, offset: int, length: int, indexes: Sequence[int]) -> Plan:
    plan = Plan(store.blocks, offset & IN_PAGE, length)
    is_spilled = store.table.is_spilled
    try:
        for index in map(PageIndex, indexes):
            if is_spilled(index):
                spilled = store.spilled(index)
                plan.pages.append(spilled)
                plan.spilled.append(spilled)
            else:
                plan.pages.append(store.read(index))
    except BaseException:
        plan.close()
        raise
    return plan


def read_range(store: Store, offset: int, length: int, mark: int) -> bytes:
    """Return *length* bytes at *offset*, setting the flags *mark* in their slots."""
    indexes = _indexes(offset, length)
    if store.blocks.nr_used and store.table.has_flagged(indexes, WB):
        raise NotResident(f"pages {indexes.start} to {indexes.stop - 1}")
    read = store.read
    data = None
    if len(indexes) >= MANY:
        data = store.read_many(PageIndex(indexes.start), len(indexes), mark)
    if data is None:
        data = b"".join([read(PageIndex(index), mark) for index in indexes])
    skip = offset & IN_PAGE
    return data if len(data) == length else data[skip : skip + length]


def check_edges(store: Store, offset: int, length: int, fetched: Fetched) -> None:
    """Raise NotResident if an edge of a range is written back and not *fetched*."""
    if not store.blocks.nr_used:
        return
    for index in map(PageIndex, _edges(offset, length)):
        if (
            store.table.is_spilled(index)
            and _fetched_page(store, index, fetched) is None
        ):
            raise NotResident(f"page {index}")


def _fetched_page(store: Store, index: PageIndex, fetched: Fetched) -> bytes | None:
    """Return the page at *index*, if it was *fetched* and is the same still.

    Its block is pinned all the time: while the slot points to it, it is.
    """
    for spilled, page in fetched.items():
        if spilled.index == index and store.table.is_in(index, spilled.block):
            return page
    return None


def write_range(
    store: Store, offset: int, data: memoryview, fetched: Fetched = NOTHING
) -> None:
    """Store *data* at *offset*, the pages before the first that cannot be stored."""
    check_edges(store, offset, len(data), fetched)
    done = 0
    while done < len(data):
        index = PageIndex((offset + done) >> PAGE_SHIFT)
        start = (offset + done) & IN_PAGE
        piece = data[done : done + PAGE_SIZE - start]
        nr_pages = (len(data) - done) >> PAGE_SHIFT
        if nr_pages >= MANY and not start:
            piece = data[done : done + (nr_pages << PAGE_SHIFT)]
            store.write_many(index, piece)
        elif len(piece) == PAGE_SIZE:
            store.write(index, piece)
        else:
            page = bytearray(_fetched_page(store, index, fetched) or store.read(index))
            page[start : start + len(piece)] = piece
            store.write(index, memoryview(page))
        done += len(piece)


def discard_range(store: Store, start: int, end: int, fetched: Fetched) -> Steps:
    """Make the bytes in [start, end) zero, in bounded steps; free whole pages."""
    first = -(-start >> PAGE_SHIFT)
    last = end >> PAGE_SHIFT
    if first > last:  # within one page
        _zero(store, start, end, fetched)
        return
    _zero(store, start, first << PAGE_SHIFT, fetched)
    _zero(store, last << PAGE_SHIFT, end, fetched)
    yield from store.discard(PageIndex(first), last - first)


def _zero(store: Store, start: int, end: int, fetched: Fetched) -> None:
    """Overwrite the bytes of a part of a page, if a page is stored there."""
    if start < end and not store.table.is_zero(PageIndex(start >> PAGE_SHIFT)):
        write_range(store, start, memoryview(bytes(end - start)), fetched)


def seek_data(store: Store, offset: int) -> int:
    """Return where data is from *offset* on; NoData if there is none."""
    index = store.table.next_data(offset >> PAGE_SHIFT)
    if index is None:
        raise NoData(f"no data from {offset} on")
    return max(offset, index << PAGE_SHIFT)


def seek_hole(store: Store, offset: int) -> int:
    """Return where zeros are from *offset* on, or the end of the device."""
    return max(offset, store.table.next_hole(offset >> PAGE_SHIFT) << PAGE_SHIFT)
