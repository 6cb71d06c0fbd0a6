"""The backing device fails at its nth operation, for every n: nothing is ever wrong.

Each run does the same to a device. Afterwards every page is right or was told to be
unreadable, what is counted adds up, and no block is lost.
"""

import errno
from collections.abc import Iterator
from contextlib import closing
from itertools import count

import pytest

from tests.backing import (
    NEVER,
    SHORT,
    Flight,
    NeverHeardOf,
    attach,
    backing_of,
    discard,
    drive,
    flights,
    read,
    write,
)
from tests.pages import make_page
from tests.unit.passes import opened
from tests.verify import opened_device, verify
from zramfs.core.device import Device
from zramfs.core.steps import Writes
from zramfs.core.writeback import Scan
from zramfs.errors import BackingDeviceFull, ReadFailed, WritebackLimitReached
from zramfs.units import PAGE_SIZE

NR_SLOTS = 8
NR_BLOCKS = 6
LIMIT = 20

FAULTS = {
    "EIO": errno.EIO,
    "ENOSPC": errno.ENOSPC,
    "short": SHORT,
    "hangs": NEVER,
}


class Sweep:
    """One run: a device, the pages that it must have, and what is left in flight."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.data = bytearray(NR_SLOTS * PAGE_SIZE)
        self.hung: list[tuple[Flight, Writes]] = []
        self.nr_taken = 0

    def write(self, offset: int, data: bytes) -> None:
        try:
            write(self.device, offset, data)
        except (ReadFailed, NeverHeardOf):
            return  # an edge that could not be read: nothing was written
        self.data[offset : offset + len(data)] = data

    def discard(self, offset: int, length: int) -> None:
        try:
            discard(self.device, offset, length)
        except (ReadFailed, NeverHeardOf):
            return
        self.data[offset : offset + length] = bytes(length)

    def write_back(self, start: int, stop: int) -> None:
        steps = self.device.writeback([Scan(start=start, stop=stop, mode=0)])
        try:
            for work in steps:
                if isinstance(work, Writes):
                    self._fly(work)
        except (BackingDeviceFull, WritebackLimitReached, OSError):
            pass

    def _fly(self, writes: Writes) -> None:
        for flight in flights(writes, 3):
            self.nr_taken += len(flight.run.indexes)
            try:
                flight.land(writes, backing_of(self.device))
            except NeverHeardOf:
                self.hung.append((flight, writes))

    def read_all(self) -> None:
        for offset in range(0, len(self.data), PAGE_SIZE):
            self.read(offset, PAGE_SIZE)

    def read(self, offset: int, length: int) -> None:
        try:
            found = read(self.device, offset, length)
        except (ReadFailed, NeverHeardOf):
            return
        assert found == self.data[offset : offset + length]

    def run(self) -> None:
        kinds = ("rand", "text", "half", "rand", "same:5", "text", "part:3000")
        for index, kind in enumerate(kinds):
            self.write(index * PAGE_SIZE, make_page(kind, index))
        self.write_back(0, NR_SLOTS)
        self.read_all()
        self.write(PAGE_SIZE + 5, b"part of a page")
        self.write(3 * PAGE_SIZE - 5, b"parts of two pages")
        self.discard(5 * PAGE_SIZE + 9, PAGE_SIZE)
        self.write(0, make_page("text", 9))
        self.read(100, 6 * PAGE_SIZE)
        self.write_back(0, 4)
        self.discard(6 * PAGE_SIZE, PAGE_SIZE)
        self.write_back(0, NR_SLOTS)
        self.read_all()

    def verify(self) -> None:
        blocks = [block for flight, _ in self.hung for block in flight.blocks]
        verify(self.device, in_flight=blocks)
        left = sum(len(flight.blocks) for flight, _ in self.hung)
        charged = self.device.counters.bd_writes + left
        assert self.device.backing.limit == LIMIT - charged


def sweep(fault: int, burst: int, *, compressed: bool) -> Iterator[Sweep]:
    """Yield the run whose nth operation fails, and those behind it up to *burst*.

    Until there is no nth any more.
    """
    for number in count():
        with opened_device() as device:
            device.backing.compressed = compressed
            device.backing.limit, device.backing.is_limited = LIMIT, True
            backing = attach(device, NR_BLOCKS)
            backing.faults = dict.fromkeys(range(number, number + burst), fault)
            opened(device, "lz4", "zstd", nr_slots=NR_SLOTS)
            found = Sweep(device)
            found.run()
            yield found
            if backing.nr_operations <= number:
                assert number > 20, "the sweep is about nothing"
                return


@pytest.mark.parametrize("compressed", [False, True], ids=["pages", "objects"])
@pytest.mark.parametrize("burst", [1, 4], ids=["once", "burst"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_costs_a_request_and_no_page(
    fault: int, burst: int, *, compressed: bool
) -> None:
    for found in sweep(fault, burst, compressed=compressed):
        found.verify()
        for flight, writes in found.hung:
            flight.give_up(writes)
        found.hung = []
        found.verify()
        backing_of(found.device).faults = {}
        for index in range(NR_SLOTS):
            start = index * PAGE_SIZE
            page = read(found.device, start, PAGE_SIZE)
            assert page == found.data[start : start + PAGE_SIZE]


@pytest.mark.parametrize("change", ["flipped", "truncated", "replaced"])
def test_a_block_that_changed_under_us_is_told(bare: Device, change: str) -> None:
    backing = attach(bare, NR_BLOCKS)
    opened(bare, "lz4", nr_slots=NR_SLOTS)
    write(bare, 0, make_page("rand", 0) + make_page("rand", 1))
    drive(bare.writeback([Scan(start=0, stop=2, mode=0)]))
    good = dict(backing.blocks)
    if change == "flipped":
        data = bytearray(good[0])
        data[77] ^= 1
        backing.blocks[0] = bytes(data)
    elif change == "truncated":
        backing.blocks[0] = good[0][:512]
    else:
        backing.blocks[0] = make_page("text")

    with pytest.raises(ReadFailed, match="block 0 is not what it was"):
        read(bare, PAGE_SIZE, PAGE_SIZE)
    assert read(bare, 0, PAGE_SIZE) == make_page("rand", 0)
    with closing(bare.plan_read(0, 2 * PAGE_SIZE)) as plan:
        assert len(plan.spilled) == 2
