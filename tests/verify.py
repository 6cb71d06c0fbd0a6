"""Every invariant of a device, re-derived from its slot table alone.

`verify` only peeks: it never calls read(), which would take marks off, and never
looks at a part of the memory that was not written, because looking would make the
system back it. It is the fsck of every test that has a device; `opened_device` is
how a test gets one.
"""

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from tests.backing import FakeBackings
from zramfs.core import slots
from zramfs.core.claims import Claim
from zramfs.core.device import Device
from zramfs.core.header import HEADER_BYTES
from zramfs.core.layout import Layout
from zramfs.core.lifecycle import State
from zramfs.core.pool import HUGE_CLASS, Pool, class_of, pool_bytes
from zramfs.core.store import Store
from zramfs.memory import MemFile
from zramfs.units import PAGE_SHIFT, PAGE_SIZE, page_align


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One slot that is not empty."""

    index: int
    word: int

    @property
    def size(self) -> int:
        return self.word & slots.SIZE_MASK

    @property
    def payload(self) -> int:
        return self.word >> slots.PAYLOAD_SHIFT

    @property
    def place(self) -> tuple[int, int]:
        """Class and index of its object in the pool."""
        return class_of(self.size), self.payload

    @property
    def priority(self) -> int:
        return (self.word & slots.PRIORITY_MASK) >> slots.PRIORITY_SHIFT

    def has(self, flag: int) -> bool:
        return bool(self.word & flag)

    @property
    def is_resident(self) -> bool:
        return not self.word & (slots.SAME | slots.WB)


@contextmanager
def opened_device() -> Iterator[Device]:
    """Yield a new device; verify it at the end, and leave nothing behind."""
    memory = MemFile()
    device = Device(memory, None, FakeBackings())
    try:
        yield device
        verify(device)
    finally:
        device.openers = 0
        device.reset()
        os.close(memory.fd)


def used_slots(store: Store) -> list[Slot]:
    """Return the slots that are not empty."""
    found = []
    stop = store.nr_slots * slots.SLOT_BYTES
    for begin, end in store.table._arena.written(0, stop):
        first = begin // slots.SLOT_BYTES
        words = store._words[first : end // slots.SLOT_BYTES].tolist()
        found += [
            Slot(index=index, word=word)
            for index, word in enumerate(words, first)
            if word
        ]
    return found


def peek(store: Store, slot: Slot) -> bytes:
    """Return the page in *slot*, and leave its marks alone."""
    if slot.has(slots.SAME):
        fill = store._fills[slot.index] if slot.payload else 0
        return fill.to_bytes(8, "little") * (PAGE_SIZE // 8)
    stored = bytes(store._pool.read(*slot.place, slot.size))
    if slot.has(slots.HUGE):
        return stored
    codec = store.codec(slot.priority)
    assert codec, slot
    return codec.decompress(stored)


def verify(
    device: Device,
    *,
    in_pass: bool = False,
    in_flight: Collection[int] = (),
    pinned: Collection[int] = (),
) -> None:
    """Assert every invariant of *device*.

    *in_pass* says that a pass of long work is under way: a compaction keeps from
    the free lists the holes that it makes, post-processing marks its pages. The
    blocks *in_flight* are being written, those *pinned* are being read.
    """
    # invariant: a device between two calls is never in the middle of a reset.
    assert device.state is not State.RESETTING
    # invariant: the swapfile is not closed more often than opened.
    assert device.openers >= 0
    # invariant: mem_limit is whole pages.
    assert device.mem_limit % PAGE_SIZE == 0
    if device.state is State.BARE:
        _verify_bare(device)
        return
    store = device.store
    used = used_slots(store)
    _verify_ready(device)
    for slot in used:
        _verify_slot(store, slot)
        _verify_marks(device, slot)
    _verify_claims(store, used, in_pass=in_pass)
    _verify_access_times(store, used)
    _verify_counters(device, used)
    _verify_objects(store._pool, used)
    _verify_blocks(device, used, in_flight, pinned)
    _verify_memory(device, used)
    if not in_pass:
        _verify_free_lists(store._pool)


def _verify_bare(device: Device) -> None:
    # invariant: what has no disksize has no slots, no capacity and no memory.
    assert device._store is None
    assert device.disksize == 0
    assert isinstance(device._memory, MemFile)
    assert os.fstat(device._memory.fd).st_size == HEADER_BYTES


def _verify_ready(device: Device) -> None:
    store = device.store
    # invariant: disksize is the pages that the table has slots for.
    assert device.disksize == store.nr_slots << PAGE_SHIFT > 0
    # invariant: the store knows the limit of the device.
    assert store.limit_pages == device.mem_limit >> PAGE_SHIFT
    # invariant: the memory is as long as the table and the pool, not longer.
    assert len(store.table._arena.view) == _layout(device).nr_bytes
    # invariant: the algorithms are those that the device shows, the primary first.
    names = [codec.name if codec else None for codec in store._codecs]
    assert names == list(device.config.algorithms)
    assert names[0]


def _layout(device: Device) -> Layout:
    return Layout(
        nr_slots=device.store.nr_slots,
        nr_blocks=device.backing.nr_blocks,
        seal_bytes=device.backing.seal_bytes,
    )


def _verify_slot(store: Store, slot: Slot) -> None:
    # invariant: a page is same-filled or written back, never both.
    assert not (slot.has(slots.SAME) and slot.has(slots.WB)), slot
    # invariant: what is not same-filled has a size, also when it is written back.
    assert (slot.size > 0) != slot.has(slots.SAME), slot
    # invariant: a page is raw (huge) if and only if its object is a whole page.
    assert slot.has(slots.HUGE) == (slot.size == PAGE_SIZE), slot
    # invariant: what compresses to 3625 bytes or more is stored raw.
    assert slot.size < 3625 or slot.size == PAGE_SIZE, slot
    # invariant: the object was written by an algorithm that the device has.
    assert store.codec(slot.priority), slot
    # invariant: what is raw or no object at all was written by none but the primary.
    assert not slot.priority or 0 < slot.size < PAGE_SIZE, slot
    # invariant: a fill word of zeros is not kept, any other is.
    if slot.has(slots.SAME):
        assert slot.payload in (0, 1), slot
        assert not slot.payload or store._fills[slot.index], slot


def _verify_marks(device: Device, slot: Slot) -> None:
    # invariant: only what has an object here is ever idle, or chosen by a pass.
    assert not slot.has(slots.IDLE | slots.PP_SLOT) or slot.is_resident, slot
    # invariant: a page is incompressible if a secondary algorithm failed on it.
    assert not slot.has(slots.INCOMPRESSIBLE) or any(device.config.algorithms[1:]), slot
    # invariant: so no same-filled page is.
    assert not slot.has(slots.INCOMPRESSIBLE) or not slot.has(slots.SAME), slot
    # invariant: what must never be written back is not.
    assert not slot.has(slots.NO_WB) or not slot.has(slots.WB), slot


def _verify_claims(store: Store, used: list[Slot], *, in_pass: bool) -> None:
    chosen = {slot.index for slot in used if slot.has(slots.PP_SLOT)}
    # invariant: a claim is on a page that was chosen and not accessed since.
    assert store.claims.held.keys() <= chosen, store.claims.held.keys() - chosen
    # invariant: it is filed under its own index.
    assert all(
        index == claim.index
        for index, claim in store.claims.held.items()
        if isinstance(claim, Claim)
    )
    # invariant: nothing is chosen or claimed unless a pass is at work.
    assert in_pass or not chosen, chosen


def _verify_access_times(store: Store, used: list[Slot]) -> None:
    base = page_align(store.nr_slots * slots.SLOT_BYTES)
    stop = base + store.nr_slots * slots.AC_TIME_BYTES
    indexes = {slot.index for slot in used}
    for begin, end in store.table._arena.written(base, stop):
        first = (begin - base) // slots.AC_TIME_BYTES
        last = (end - base) // slots.AC_TIME_BYTES
        times = np.frombuffer(store._ac_time[first:last], np.uint32)
        # invariant: an empty slot has no access time.
        assert indexes.issuperset((np.flatnonzero(times) + first).tolist())


def _verify_counters(device: Device, used: list[Slot]) -> None:
    store = device.store
    resident = [slot for slot in used if slot.is_resident]
    # invariant: pages_stored counts the slots that are not empty.
    assert store.pages_stored == len(used)
    # invariant: same_pages counts the same-filled slots.
    assert store.same_pages == sum(slot.has(slots.SAME) for slot in used)
    # invariant: huge_pages counts the resident raw pages.
    assert store.huge_pages == sum(slot.has(slots.HUGE) for slot in resident)
    # invariant: compr_data_size is what the resident objects have together.
    assert store.compr_data_size == sum(slot.size for slot in resident)
    # invariant: every huge page there is was once stored.
    assert device.counters.huge_pages_since >= store.huge_pages


def _verify_objects(pool: Pool, used: list[Slot]) -> None:
    places = [slot.place for slot in used if slot.is_resident]
    # invariant: no two slots share an object.
    assert len(set(places)) == len(places), Counter(places).most_common(1)
    # invariant: the used places of the pool are the objects of the slots.
    found = [
        (klass, index)
        for klass, marks in enumerate(pool._used)
        for index, mark in enumerate(marks)
        if mark
    ]
    assert sorted(places) == found


def _verify_blocks(
    device: Device,
    used: list[Slot],
    in_flight: Collection[int],
    pinned: Collection[int],
) -> None:
    blocks = device.store.blocks
    spilled = [slot.payload for slot in used if slot.has(slots.WB)]
    owned = [*spilled, *in_flight]
    # invariant: no two slots share a block, and no slot has one in flight.
    assert len(set(owned)) == len(owned), Counter(owned).most_common(1)
    # invariant: bd_count is the blocks of slots, and those in flight.
    assert blocks.nr_used == device.bd_stat().bd_count == len(owned)
    # invariant: a block is read if and only if it is pinned.
    assert blocks._pins.keys() == set(pinned)
    assert all(blocks._used[block] for block in pinned)
    assert all(count > 0 for count in blocks._pins.values())
    # invariant: what was given up and is not free yet is pinned, and nobody's.
    assert blocks._freed <= blocks._pins.keys() - set(owned)
    # invariant: all other blocks can be handed out.
    marks = [block for block, mark in enumerate(blocks._used) if mark]
    assert marks == sorted([*owned, *blocks._freed])
    assert all(blocks._used[: blocks._first_free])
    # invariant: there is a block on the backing device for each.
    assert blocks.nr_blocks == device.backing.nr_blocks
    assert len(blocks._used) <= blocks.nr_blocks
    # invariant: every page on the backing device was once written.
    assert device.counters.bd_writes >= len(spilled)


def _verify_free_lists(pool: Pool) -> None:
    for klass, marks in enumerate(pool._used):
        if not marks:
            continue
        listed = Counter(pool._free[klass])
        holes = {index for index, mark in enumerate(marks) if not mark}
        # invariant: every hole below the tail can be allocated.
        assert holes <= listed.keys(), (klass, holes - listed.keys())
        # invariant: no place is listed twice.
        assert all(count == 1 for count in listed.values()), (klass, listed)


def _verify_memory(device: Device, used: list[Slot]) -> None:
    store = device.store
    pool = store._pool
    tails = [0] * (HUGE_CLASS + 1)
    nr_huge = 0
    for klass, index in (slot.place for slot in used if slot.is_resident):
        tails[klass] = max(tails[klass], index + 1)
        nr_huge += klass == HUGE_CLASS
    # invariant: a class ends with its last object.
    assert [len(marks) for marks in pool._used] == tails
    # invariant: a class never outgrows its segment of the memory.
    assert max(tails) <= store.nr_slots + 1
    held = [
        page_align(tail * klass << 4) >> PAGE_SHIFT for klass, tail in enumerate(tails)
    ]
    held[HUGE_CLASS] = nr_huge
    # invariant: nr_pages is what the classes hold.
    assert pool.nr_pages == sum(held)
    # invariant: the high-water mark is not below the water. Recompression is let off,
    # as in the kernel: what it takes is not counted there.
    assert pool.nr_pages_max >= pool.nr_pages or any(device.config.algorithms[1:])
    backed = _backed_pages(store)
    # invariant: huge objects are backed by memory, page for page.
    assert backed[HUGE_CLASS] == nr_huge
    # invariant: so are other classes, but for a last page not yet written to.
    for klass, pages in enumerate(held):
        assert pages - 1 <= backed[klass] <= pages, klass


def _backed_pages(store: Store) -> "Counter[int]":
    """Return the pages of each class that the system says it backs."""
    bases = store._pool._bases
    classes = [klass for klass, base in enumerate(bases) if base]
    starts = [bases[klass] for klass in classes]
    stop = starts[0] + pool_bytes(store.nr_slots)
    backed: Counter[int] = Counter()
    for begin, end in store.table._arena.written(starts[0], stop):
        for offset in range(begin, end, PAGE_SIZE):
            backed[classes[bisect_right(starts, offset) - 1]] += 1
    return backed
