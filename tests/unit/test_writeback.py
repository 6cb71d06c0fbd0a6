"""zramfs.core.writeback: order, budget, errors, and what happens in between."""

import errno
from collections.abc import Callable

import pytest

from tests.backing import (
    SEAL_BYTES,
    FakeBacking,
    Flight,
    attach,
    backing_of,
    drive,
    flights,
    read,
    take,
)
from tests.pages import make_page
from tests.unit.passes import fill, flags, opened, request
from tests.unit.requests import discard, write_page
from tests.verify import verify
from zramfs.core import slots
from zramfs.core.device import Device
from zramfs.core.steps import Steps, Writes
from zramfs.core.writeback import Scan
from zramfs.errors import BackingDeviceFull, InvalidValue, WritebackLimitReached
from zramfs.units import PAGE_SIZE, PageIndex

NR_SLOTS = 64
NR_BLOCKS = 16

everything = [Scan(start=0, stop=NR_SLOTS, mode=0)]


@pytest.fixture
def device(bare: Device) -> Device:
    """A device of 64 pages, with 16 blocks to write them to."""
    attach(bare, NR_BLOCKS)
    return opened(bare, "lz4", "zstd", nr_slots=NR_SLOTS)


def spill(device: Device, *scans: Scan) -> None:
    """Write back what *scans* find; everything without."""
    drive(device.writeback(scans or everything))


def marked(device: Device, *scans: Scan) -> tuple[Steps, Writes]:
    """Begin a pass, and return it and what it asks to be written."""
    steps = device.writeback(scans or everything)
    for work in steps:
        if work:
            assert isinstance(work, Writes)
            return steps, work
    raise AssertionError("the pass asks for nothing")


def written(device: Device) -> list[int]:
    """Return the pages on the backing device, in the order of their blocks."""
    store = device.store
    blocks = {
        word >> slots.PAYLOAD_SHIFT: index
        for index, word in enumerate(store.table.words.tolist())
        if word & slots.WB
    }
    return [blocks[block] for block in sorted(blocks)]


def pages(device: Device, *kinds: str) -> bool:
    """Whether the first pages read as those of these *kinds*."""
    return all(
        read(device, index * PAGE_SIZE, PAGE_SIZE) == make_page(kind, index)
        for index, kind in enumerate(kinds)
    )


def begin(device: Device, *kinds: str) -> tuple[Steps, Writes, Flight]:
    """Store pages of these *kinds*, and take them off."""
    fill(device, *kinds)
    steps, writes = marked(device)
    flight = take(writes, len(kinds))
    assert flight
    return steps, writes, flight


def test_a_page_goes_to_the_backing_device_and_comes_back(device: Device) -> None:
    fill(device, "text", "rand")

    spill(device)

    assert flags(device) == {0: ".w....", 1: ".wh..."}
    assert pages(device, "text", "rand")
    assert flags(device) == {0: ".w....", 1: ".wh..."}
    assert str(device.bd_stat()) == "       2        2        2\n"


def test_what_is_written_back_takes_no_memory_and_is_still_stored(
    device: Device,
) -> None:
    fill(device, "text", "rand")

    spill(device)

    stat = device.mm_stat()
    assert stat.orig_data_size == 2 * PAGE_SIZE
    assert stat.compr_data_size == stat.mem_used_total == stat.huge_pages == 0
    assert stat.huge_pages_since == 1


def test_what_is_written_back_has_no_part_in_the_waste(bare: Device) -> None:
    attach(bare, 40)
    opened(bare, "lz4", nr_slots=NR_SLOTS)
    fill(bare, *["rand"] * 40, *["half"] * 20)

    spill(bare, Scan(start=0, stop=40, mode=0))

    stat = bare.mm_stat()
    # Half a step of 16 bytes for each of the objects that are left.
    assert bare.store.waste == stat.mem_used_total - stat.compr_data_size - 20 * 8


def test_the_largest_go_first_and_of_a_size_the_last_ones(device: Device) -> None:
    fill(device, *["text", "rand", "half", "part:3000"] * 2)

    spill(device)

    assert written(device) == [5, 1, 7, 3, 6, 2, 4, 0]


def test_sizes_within_64_bytes_count_as_one(device: Device) -> None:
    fill(device, "part:3000", "part:2990", "part:3000", "part:2900")

    spill(device)

    assert written(device) == [2, 1, 0, 3]


def test_what_is_named_last_goes_first(device: Device) -> None:
    fill(device, *["rand"] * 6)

    spill(device, Scan(start=4, stop=6, mode=0), *(Scan(start=0, stop=2, mode=0),))

    assert written(device) == [1, 0, 5, 4]


def test_a_page_named_twice_is_written_twice_and_has_one_block(device: Device) -> None:
    fill(device, "rand", "rand")
    twice = Scan(start=0, stop=1, mode=0)

    spill(device, twice, twice)

    assert written(device) == [0]
    assert str(device.bd_stat()) == "       1        0        2\n"
    assert pages(device, "rand", "rand")


@pytest.mark.parametrize(
    ("mode", "chosen"),
    [
        (0, [0, 1, 2, 5]),
        (slots.IDLE, [1, 2]),
        (slots.HUGE, [2, 5]),
        (slots.HUGE | slots.IDLE, [2]),
        (slots.INCOMPRESSIBLE, [5]),
    ],
)
def test_a_mode_chooses(device: Device, mode: int, chosen: list[int]) -> None:
    fill(device, "text", "text", "rand", "same:5", "zero", "rand")
    drive(device.mark_idle(None))
    device.read(0, PAGE_SIZE)
    device.read(5 * PAGE_SIZE, PAGE_SIZE)
    device.store.table.words[5] |= slots.INCOMPRESSIBLE

    spill(device, Scan(start=0, stop=NR_SLOTS, mode=mode))

    assert sorted(written(device)) == chosen


def test_only_the_pages_asked_for_go(device: Device) -> None:
    fill(device, *["text"] * 6)

    spill(device, Scan(start=1, stop=3, mode=0), Scan(start=5, stop=6, mode=0))

    assert sorted(written(device)) == [1, 2, 5]


def test_what_was_read_synchronously_under_no_wb_stays(device: Device) -> None:
    fill(device, "text", "text")
    device.read(0, PAGE_SIZE, slots.NO_WB)
    drive(device.mark_idle(None))

    spill(device)

    assert flags(device) == {0: "......", 1: ".w...."}


def test_an_age_marks_no_page_that_is_never_written_back(device: Device) -> None:
    device.tick(100)
    fill(device, "text", "text")
    device.read(0, PAGE_SIZE, slots.NO_WB)
    device.tick(200)

    drive(device.mark_idle(50))

    assert flags(device) == {0: "......", 1: "...i.."}


def test_the_idle_mark_goes_and_the_others_stay(device: Device) -> None:
    device.tick(7)
    fill(device, "rand", "text")
    drive(device.mark_idle(None))
    device.store.table.words[0] |= slots.INCOMPRESSIBLE

    spill(device)

    assert flags(device) == {0: ".wh..n", 1: ".w...."}
    assert device.store.table.ac_time[:2].tolist() == [7, 7]


def test_what_is_written_back_is_passed_over(device: Device) -> None:
    fill(device, "text", "rand")
    spill(device)

    spill(device)
    drive(device.mark_idle(None))

    assert flags(device) == {0: ".w....", 1: ".wh..."}
    assert device.bd_stat().bd_writes == 2


def test_a_block_holds_the_page_as_it_is(device: Device) -> None:
    fill(device, "text")

    spill(device)

    assert backing_of(device).blocks == {0: make_page("text")}


def test_compressed_writeback_writes_objects_with_zeros_behind(bare: Device) -> None:
    bare.backing.compressed = True
    attach(bare, 4)
    opened(bare, "lz4", "zstd")
    fill(bare, "rand", "text")
    size = bare.store.table.words[1] & slots.SIZE_MASK
    stored = bytes(bare.store._pool.read(4, 0, size))

    spill(bare)

    blocks = backing_of(bare).blocks
    assert blocks[0] == make_page("rand")
    assert blocks[1] == stored.ljust(PAGE_SIZE, b"\0")
    assert pages(bare, "rand", "text")
    assert flags(bare) == {0: ".wh...", 1: ".w...."}


def test_a_limit_of_fewer_pages_is_used_up(device: Device) -> None:
    fill(device, *["rand"] * 6)
    device.backing.limit, device.backing.is_limited = 4, True

    with pytest.raises(WritebackLimitReached, match="2 pages are left"):
        spill(device)

    assert written(device) == [5, 4, 3, 2]
    assert device.backing.limit == 0
    assert flags(device)[0] == "..h..."


def test_a_limit_of_just_as_many_pages_is_no_error(device: Device) -> None:
    fill(device, *["rand"] * 4)
    device.backing.limit, device.backing.is_limited = 4, True

    spill(device)
    spill(device)

    assert device.backing.limit == 0
    assert len(written(device)) == 4


def test_a_limit_that_is_not_enabled_stays_what_it_is(device: Device) -> None:
    fill(device, "rand")
    device.backing.limit = 4

    spill(device)

    assert device.backing.limit == 4


def test_a_page_that_cannot_be_written_is_not_charged(device: Device) -> None:
    fill(device, "rand", "rand", "rand")
    device.backing.limit, device.backing.is_limited = 8, True
    backing_of(device).bad_blocks = {1}

    with pytest.raises(OSError, match="Input/output error"):
        spill(device)

    assert device.backing.limit == 6


def test_a_full_backing_device_ends_it(bare: Device) -> None:
    attach(bare, 2)
    opened(bare, "lz4")
    fill(bare, "rand", "rand", "rand")

    with pytest.raises(BackingDeviceFull, match="all 2 blocks"):
        spill(bare)

    assert written(bare) == [2, 1]
    assert pages(bare, "rand", "rand", "rand")


def test_a_full_backing_device_is_no_error_if_nothing_is_left(bare: Device) -> None:
    attach(bare, 2)
    opened(bare, "lz4")
    fill(bare, "rand", "rand")

    spill(bare)
    spill(bare)

    assert str(bare.bd_stat()) == "       2        0        2\n"


def test_a_freed_block_is_used_again(device: Device) -> None:
    fill(device, "rand", "rand", "rand")
    spill(device)
    discard(device, 1, 1)
    write_page(device, 0, "text")
    assert device.bd_stat().bd_count == 1

    spill(device)

    assert written(device) == [2, 0]
    assert pages(device, "text", "zero", "rand")


def test_runs_fill_what_is_free_between_others(device: Device) -> None:
    fill(device, *["rand"] * 8)
    spill(device)
    for index in (6, 4, 3):
        write_page(device, index, "text")

    spill(device)

    assert written(device) == [7, 6, 5, 4, 3, 2, 1, 0]
    assert pages(device, *["rand"] * 3, "text", "text", "rand", "text", "rand")


def test_a_bad_block_keeps_its_page_and_no_other(device: Device) -> None:
    fill(device, *["rand"] * 4)
    drive(device.mark_idle(None))
    backing_of(device).bad_blocks = {1}

    with pytest.raises(OSError, match="Input/output error"):
        spill(device)

    assert flags(device) == {0: ".wh...", 1: ".wh...", 2: "..hi..", 3: ".wh..."}
    assert str(device.bd_stat()) == "       3        0        3\n"
    assert pages(device, *["rand"] * 4)


def test_the_last_error_is_the_one_that_is_told(bare: Device) -> None:
    attach(bare, 3)
    opened(bare, "lz4")
    fill(bare, *["rand"] * 4)
    steps, writes = marked(bare)
    taken = list(flights(writes, 2))
    backing_of(bare).faults = {0: errno.ENOSPC, 1: errno.ENOSPC, 2: errno.ENOSPC}

    for flight in taken:
        flight.land(writes, backing_of(bare))

    with pytest.raises(OSError, match="No space left on device") as caught:
        next(steps)
    assert caught.value.errno == errno.ENOSPC
    assert written(bare) == [1]


def test_a_read_only_device_takes_nothing(device: Device) -> None:
    fill(device, "rand", "rand")
    backing_of(device).faults = dict.fromkeys(range(9), errno.EPERM)

    with pytest.raises(OSError, match="not permitted") as caught:
        spill(device)
    assert caught.value.errno == errno.EIO

    assert flags(device) == {0: "..h...", 1: "..h..."}
    assert str(device.bd_stat()) == "       0        0        0\n"


def _read(device: Device) -> None:
    device.read(0, PAGE_SIZE)


def _pin(device: Device) -> None:
    device.read(0, PAGE_SIZE, slots.NO_WB)


def _write(device: Device) -> None:
    write_page(device, 0, "half")


def _write_part(device: Device) -> None:
    device.write(100, memoryview(b"part"))


def _discard(device: Device) -> None:
    discard(device, 0, 1)


@pytest.mark.parametrize("access", [_read, _pin, _write, _write_part, _discard])
def test_a_page_that_is_accessed_meanwhile_stays(
    device: Device, access: Callable[[Device], None]
) -> None:
    device.backing.limit, device.backing.is_limited = 4, True
    steps, writes, flight = begin(device, "rand", "rand")
    access(device)
    before = device.read(0, PAGE_SIZE)

    flight.land(writes, backing_of(device))
    next(steps, None)

    assert written(device) == [1]
    assert read(device, 0, PAGE_SIZE) == before
    assert str(device.bd_stat()) == "       1        0        2\n"
    assert device.backing.limit == 2


def test_a_page_accessed_before_its_turn_is_passed_over(device: Device) -> None:
    fill(device, "rand", "rand", "rand")
    steps, writes = marked(device)
    device.read(PAGE_SIZE, PAGE_SIZE)

    for flight in flights(writes):
        flight.land(writes, backing_of(device))
    next(steps, None)

    assert written(device) == [2, 0]
    assert device.bd_stat().bd_writes == 2


def test_if_all_were_accessed_nothing_is_taken(device: Device) -> None:
    fill(device, "rand", "rand")
    steps, writes = marked(device)
    device.read(0, 2 * PAGE_SIZE)

    assert take(writes, 1) is None
    assert next(steps, None) is None
    assert device.store.blocks.nr_used == 0


def test_a_page_that_was_written_anew_is_not_replaced_by_the_old_one(
    device: Device,
) -> None:
    """The lost claim: the second claim is not the first."""
    first_steps, first_writes, first = begin(device, "rand")
    write_page(device, 0, "half")
    first_steps.close()  # type: ignore[attr-defined]  # a generator
    steps, writes = marked(device)
    second = take(writes)
    assert second

    first.land(first_writes, backing_of(device))
    assert flags(device) == {0: "......"}
    second.land(writes, backing_of(device))
    next(steps, None)

    assert flags(device) == {0: ".w...."}
    assert pages(device, "half")


def test_a_pass_that_is_given_up_leaves_the_rest(device: Device) -> None:
    steps, writes, flight = begin(device, "rand", "rand")
    verify(device, in_pass=True, in_flight=flight.run.blocks)

    steps.close()  # type: ignore[attr-defined]  # a generator

    verify(device, in_flight=flight.run.blocks)
    flight.land(writes, backing_of(device))
    assert written(device) == []
    assert device.bd_stat().bd_count == 0
    assert take(writes) is None


def test_a_page_that_does_not_decompress_is_passed_over(device: Device) -> None:
    fill(device, "half", "text", "half")
    place = device.store.table.words[1] >> slots.PAYLOAD_SHIFT
    good = bytes(device.store._pool.read(4, place, 62))
    device.store._pool.write(4, place, b"\xff" * 62)

    spill(device)

    assert written(device) == [2, 0]
    assert flags(device)[1] == "......"
    assert device.bd_stat().bd_writes == 2
    device.store._pool.write(4, place, good)


def test_recompressed_pages_are_decompressed_by_who_made_them(bare: Device) -> None:
    bare.backing.compressed = True
    attach(bare, 4)
    opened(bare, "lz4", "zstd")
    fill(bare, "part:2000:3")
    drive(bare.recompress(request()))
    spill(bare)

    assert pages(bare, "part:2000:3")


def in_one_run(device: Device) -> Flight:
    """Write all there is back, in one run, and return it."""
    steps, writes = marked(device)
    flight = take(writes, NR_SLOTS)
    assert flight
    flight.land(writes, backing_of(device))
    assert take(writes, NR_SLOTS) is None
    assert next(steps, None) is None
    return flight


@pytest.fixture
def mixed(bare: Device) -> Device:
    """A device with 40 pages of all kinds, and as many blocks."""
    attach(bare, 40)
    opened(bare, "lz4", "zstd", nr_slots=NR_SLOTS)
    fill(bare, *["text", "rand", "half", "part:3000"] * 10)
    return bare


def test_many_pages_go_in_one_run(mixed: Device) -> None:
    flight = in_one_run(mixed)

    assert len(flight.run.blocks) == 40
    assert pages(mixed, *["text", "rand", "half", "part:3000"] * 10)
    assert mixed.mm_stat().mem_used_total == 0


def test_many_pages_may_be_by_several_algorithms(mixed: Device) -> None:
    drive(mixed.recompress(request()))
    assert "r" in "".join(flags(mixed).values())

    flight = in_one_run(mixed)

    assert len(flight.run.blocks) == 40
    assert pages(mixed, *["text", "rand", "half", "part:3000"] * 10)


def test_one_of_many_pages_that_does_not_decompress_is_passed_over(
    mixed: Device,
) -> None:
    word = mixed.store.table.words[8]
    size, place = word & slots.SIZE_MASK, word >> slots.PAYLOAD_SHIFT
    klass = (size + 15) // 16
    good = bytes(mixed.store._pool.read(klass, place, size))
    mixed.store._pool.write(klass, place, b"\xff" * size)

    flight = in_one_run(mixed)

    assert len(flight.run.blocks) == 39
    assert flags(mixed)[8] == "......"
    assert mixed.bd_stat().bd_count == 39
    assert pages(mixed, *["text", "rand", "half", "part:3000"] * 2)
    mixed.store._pool.write(klass, place, good)


def test_many_scans_of_a_large_table_are_steps(bare: Device) -> None:
    attach(bare, 4)
    opened(bare, "lz4", nr_slots=1 << 22)
    fill(bare, "text")
    write_page(bare, (1 << 22) - 1, "text")

    steps = [
        work
        for work in bare.writeback([Scan(start=0, stop=1 << 22, mode=0)])
        if not isinstance(work, Writes)
    ]

    assert len(steps) == 2


def test_overwriting_takes_a_page_off_the_backing_device(device: Device) -> None:
    fill(device, "rand", "text")
    spill(device)

    write_page(device, 0, "same:5")
    write_page(device, 1, "rand")

    assert device.bd_stat().bd_count == 0
    assert flags(device) == {0: "s.....", 1: "..h..."}
    assert pages(device, "same:5", "rand")


def test_a_reset_lets_go_of_it_all(device: Device) -> None:
    fill(device, "rand")
    spill(device)
    backing = backing_of(device)
    device.backing.limit, device.backing.is_limited = 9, True
    device.backing.batch_size = 3

    device.reset()

    assert not backing.is_open
    assert device.backing.show() == "none\n"
    assert str(device.bd_stat()) == "       0        0        0\n"
    assert (device.backing.limit, device.backing.is_limited) == (9, True)
    assert device.backing.batch_size == 3


def test_a_new_life_begins_with_all_blocks_free(device: Device) -> None:
    fill(device, "rand", "rand")
    spill(device)
    backing = backing_of(device)
    device.reset()
    device.backing.choose(device.backing.open(backing.path))
    opened(device, "lz4", nr_slots=NR_SLOTS)

    assert device.read(0, PAGE_SIZE) == bytes(PAGE_SIZE)
    fill(device, "text")
    spill(device)
    assert backing.blocks[0] == make_page("text")


def test_the_seal_of_a_block_is_kept_in_memory(device: Device) -> None:
    fill(device, "rand")
    spill(device)

    spilled = device.store.spilled(PageIndex(0))
    device.store.blocks.unpin(spilled.block)

    assert len(spilled.seal) == SEAL_BYTES
    assert spilled.seal != bytes(SEAL_BYTES)


def test_a_backing_device_without_a_block_is_refused(bare: Device) -> None:
    with pytest.raises(InvalidValue, match="no room for a page"):
        attach(bare, 0)
    assert isinstance(bare.backing.chosen, FakeBacking | None)
