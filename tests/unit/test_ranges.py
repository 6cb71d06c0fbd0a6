"""zramfs.core.ranges: what is written back is waited for, and only that."""

from collections.abc import Callable
from contextlib import closing

import pytest

from tests.backing import (
    attach,
    backing_of,
    discard,
    drive,
    fetch_all,
    read,
    write,
)
from tests.pages import make_page
from tests.unit.passes import fill, flags, opened
from tests.unit.requests import write_page
from tests.verify import verify
from zramfs.core import slots
from zramfs.core.device import Device
from zramfs.core.writeback import Scan
from zramfs.errors import NotResident, ReadFailed, WriteFailed
from zramfs.units import PAGE_SIZE

KINDS = ("text", "rand", "same:5", "half")
DATA = b"".join(make_page(kind, index) for index, kind in enumerate(KINDS))


@pytest.fixture
def device(bare: Device) -> Device:
    """A device of 8 pages, of which the second and the fourth are written back."""
    attach(bare, 8)
    opened(bare, "lz4", nr_slots=8)
    fill(bare, *KINDS)
    spill(bare, 1, 3)
    drive(bare.mark_idle(None))
    return bare


def spill(device: Device, *indexes: int) -> None:
    drive(
        device.writeback(
            [Scan(start=index, stop=index + 1, mode=0) for index in indexes]
        )
    )


def everything(device: Device) -> object:
    """Return all that a request could change or count."""
    table = device.store.table
    return (
        device.counters.values(),
        table.words.tolist(),
        table.ac_time.tolist(),
        device.mm_stat(),
        device.bd_stat(),
    )


def _read_page(device: Device) -> object:
    return device.read(PAGE_SIZE, PAGE_SIZE)


def _pin_page(device: Device) -> object:
    return device.read(PAGE_SIZE, PAGE_SIZE, slots.NO_WB)


def _read_all(device: Device) -> object:
    return device.read(0, 8 * PAGE_SIZE)


def _read_part(device: Device) -> object:
    return device.read(PAGE_SIZE - 1, 2)


def _read_beyond(device: Device) -> object:
    return device.read(3 * PAGE_SIZE, 99 * PAGE_SIZE)


def _write_head(device: Device) -> object:
    return device.write(PAGE_SIZE + 1, memoryview(bytes(PAGE_SIZE)))


def _write_tail(device: Device) -> object:
    return device.write(2 * PAGE_SIZE, memoryview(bytes(PAGE_SIZE + 1)))


def _write_within(device: Device) -> object:
    return device.write(PAGE_SIZE + 1, memoryview(b"part"))


def _discard_head(device: Device) -> object:
    return device.discard(PAGE_SIZE + 1, 6 * PAGE_SIZE)


def _discard_tail(device: Device) -> object:
    return device.discard(2 * PAGE_SIZE, PAGE_SIZE + 1)


def _discard_within(device: Device) -> object:
    return device.discard(PAGE_SIZE + 1, 9)


def test_where_a_page_is_changes_and_counts_nothing(device: Device) -> None:
    device.tick(77)
    before = everything(device)

    block = device.read_page(PAGE_SIZE, slots.NO_WB)
    assert everything(device) == before

    spilled = device.pin_page(PAGE_SIZE)
    assert spilled.block == block
    assert device.bd_stat().bd_reads == 1
    assert device.block_stat().reads == 1
    device.store.blocks.unpin(spilled.block)


@pytest.mark.parametrize(
    "ask",
    [
        *(_read_page, _pin_page, _read_all, _read_part, _read_beyond),
        *(_write_head, _write_tail, _write_within),
        *(_discard_head, _discard_tail, _discard_within),
    ],
)
def test_what_must_be_waited_for_changes_and_counts_nothing(
    device: Device, ask: Callable[[Device], object]
) -> None:
    device.tick(77)
    before = everything(device)

    with pytest.raises(NotResident, match="page"):
        ask(device)
    assert everything(device) == before


@pytest.mark.parametrize(
    "ask",
    [
        lambda device: device.read(0, PAGE_SIZE),
        lambda device: device.read(PAGE_SIZE * 4, PAGE_SIZE * 4),
        lambda device: device.write(PAGE_SIZE, memoryview(bytes(PAGE_SIZE * 3))),
        lambda device: device.write(1, memoryview(bytes(PAGE_SIZE * 2 + 1))),
        lambda device: drive(device.discard(PAGE_SIZE, PAGE_SIZE * 3)),
        lambda device: drive(device.discard(0, PAGE_SIZE * 2 + 9)),
    ],
    ids=["read", "read-on", "write", "write-edges", "discard", "discard-edge"],
)
def test_what_need_not_be_read_is_not_waited_for(
    device: Device, ask: Callable[[Device], object]
) -> None:
    ask(device)

    assert device.counters.bd_reads == 0


def test_a_read_waits_for_pages_between_others(device: Device) -> None:
    assert read(device, 0, 4 * PAGE_SIZE) == DATA
    assert read(device, 100, 3 * PAGE_SIZE) == DATA[100:][: 3 * PAGE_SIZE]
    assert read(device, PAGE_SIZE - 1, 2) == DATA[PAGE_SIZE - 1 :][:2]
    assert read(device, 3 * PAGE_SIZE, 9 * PAGE_SIZE) == (
        DATA[3 * PAGE_SIZE :] + bytes(4 * PAGE_SIZE)
    )

    counters = device.counters
    assert (counters.reads, counters.failed_reads, counters.bd_reads) == (4, 0, 6)
    assert counters.read_sectors == 32 + 24 + 0 + 40


def test_a_plan_is_an_access_of_all_its_pages(device: Device) -> None:
    device.tick(77)

    read(device, 0, 4 * PAGE_SIZE)

    assert flags(device) == {0: "......", 1: ".wh...", 2: "s.....", 3: ".w...."}
    assert device.store.table.ac_time[:4].tolist() == [77] * 4


def test_a_plan_beyond_the_end_has_nothing_to_wait_for(device: Device) -> None:
    with closing(device.plan_read(8 * PAGE_SIZE, PAGE_SIZE)) as plan:
        assert plan.join({}) == b""
    with closing(device.plan_edges(8 * PAGE_SIZE, 1)) as plan:
        assert plan.spilled == []

    assert device.counters.reads == 0


def test_a_block_is_pinned_as_long_as_it_is_read(device: Device) -> None:
    plan = device.plan_read(0, 4 * PAGE_SIZE)
    verify(device, pinned=[0, 1])
    write_page(device, 1, "text")
    write_page(device, 3, "text")
    verify(device, pinned=[0, 1])
    spill(device, 1, 3)
    verify(device, pinned=[0, 1])

    assert plan.join(fetch_all(device, plan)) == DATA

    plan.close()
    assert read(device, PAGE_SIZE, PAGE_SIZE) == make_page("text", 1)
    spill(device, 0)
    assert backing_of(device).blocks.keys() == {0, 1, 2, 3}


def test_two_readers_pin_a_block_twice(device: Device) -> None:
    first, second = (device.plan_read(PAGE_SIZE, PAGE_SIZE) for _ in range(2))
    write_page(device, 1, "text")
    first.close()
    verify(device, pinned=[0])

    assert second.join(fetch_all(device, second)) == make_page("rand", 1)

    second.close()
    verify(device)


def test_a_page_that_does_not_come_back_is_a_failed_read(device: Device) -> None:
    backing_of(device).bad_blocks = {0}

    with pytest.raises(ReadFailed, match="Input/output error"):
        read(device, 0, 4 * PAGE_SIZE)

    # As in the kernel: only what fails in memory is counted.
    assert device.counters.failed_reads == 0
    assert device.counters.bd_reads == 2


def test_a_corrupt_page_beside_others_is_a_failed_read(device: Device) -> None:
    store = device.store
    size = store.table.words[0] & slots.SIZE_MASK
    good = bytes(store._pool.read(4, 0, size))
    store._pool.write(4, 0, b"\xff" * size)

    with pytest.raises(ReadFailed, match="page 0: lz4"):
        device.plan_read(0, 4 * PAGE_SIZE)
    with pytest.raises(ReadFailed, match="page 0: lz4"):
        device.read(0, PAGE_SIZE)
    assert device.counters.failed_reads == 2
    verify(device)
    store._pool.write(4, 0, good)


def test_a_corrupt_page_behind_one_that_is_pinned_unpins_it(device: Device) -> None:
    write_page(device, 2, "text")
    place = device.store.table.words[2] >> slots.PAYLOAD_SHIFT
    size = device.store.table.words[2] & slots.SIZE_MASK
    klass = (size + 15) // 16
    good = bytes(device.store._pool.read(klass, place, size))
    device.store._pool.write(klass, place, b"\xff" * size)

    with pytest.raises(ReadFailed, match="page 2: lz4"):
        device.plan_read(PAGE_SIZE, 2 * PAGE_SIZE)
    verify(device)
    device.store._pool.write(klass, place, good)


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (PAGE_SIZE + 1, 5),
        (PAGE_SIZE + 1, PAGE_SIZE),
        (PAGE_SIZE - 5, 10),
        (2 * PAGE_SIZE - 1, PAGE_SIZE + 2),
        (PAGE_SIZE + 7, 2 * PAGE_SIZE + 7),
        (3 * PAGE_SIZE, 1),
        (4 * PAGE_SIZE - 1, 1),
    ],
)
def test_a_write_of_a_part_keeps_the_rest(
    device: Device, offset: int, length: int
) -> None:
    data = b"\xa5" * length

    assert write(device, offset, data) == length

    expected = DATA[:offset] + data + DATA[offset + length :]
    assert read(device, 0, 4 * PAGE_SIZE) == expected
    assert device.counters.writes == 5


@pytest.mark.parametrize(
    ("offset", "length"),
    [(PAGE_SIZE + 1, 5), (PAGE_SIZE + 9, 2 * PAGE_SIZE), (3 * PAGE_SIZE - 1, 2)],
)
def test_a_discard_of_a_part_keeps_the_rest(
    device: Device, offset: int, length: int
) -> None:
    discard(device, offset, length)

    expected = DATA[:offset] + bytes(length) + DATA[offset + length :]
    assert read(device, 0, 4 * PAGE_SIZE) == expected


def test_what_was_fetched_is_of_no_use_once_the_page_has_changed(
    device: Device,
) -> None:
    with closing(device.plan_edges(PAGE_SIZE + 1, 4)) as plan:
        fetched = fetch_all(device, plan)
        write_page(device, 1, "text")

        device.write(PAGE_SIZE + 1, memoryview(b"part"), fetched)

    expected = bytearray(make_page("text", 1))
    expected[1:5] = b"part"
    assert read(device, PAGE_SIZE, PAGE_SIZE) == expected


def test_what_was_fetched_is_of_no_use_once_the_page_has_gone_elsewhere(
    device: Device,
) -> None:
    with closing(device.plan_edges(PAGE_SIZE + 1, 4)) as plan:
        fetched = fetch_all(device, plan)
        write_page(device, 1, "text")
        spill(device, 1)

        with pytest.raises(NotResident, match="page 1"):
            device.write(PAGE_SIZE + 1, memoryview(b"part"), fetched)
        with pytest.raises(NotResident, match="page 1"):
            device.discard(PAGE_SIZE + 1, 4, fetched)
    assert read(device, PAGE_SIZE, PAGE_SIZE) == make_page("text", 1)


def test_a_part_that_does_not_fit_leaves_the_page_where_it_is(device: Device) -> None:
    device.set_mem_limit(PAGE_SIZE)
    write_page(device, 7, "zero")

    with pytest.raises(WriteFailed, match="pages in use"):
        write(device, PAGE_SIZE + 1, b"part")

    assert read(device, PAGE_SIZE, PAGE_SIZE) == make_page("rand", 1)
    assert device.counters.failed_writes == 1
