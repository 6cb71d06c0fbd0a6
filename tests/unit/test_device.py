"""zramfs.core.device: bytes in, bytes out, the ends, the limit, the lives."""

import pytest

from tests.pages import make_page
from tests.unit.conftest import NR_SLOTS
from tests.unit.requests import discard, write, write_page
from tests.verify import used_slots
from zramfs.core.codecs import ALGORITHMS
from zramfs.core.device import Device
from zramfs.core.lifecycle import State
from zramfs.core.slots import HUGE
from zramfs.errors import (
    DeviceBusy,
    NoSpace,
    NotInitialised,
    OutOfMemory,
    ReadFailed,
    WriteFailed,
)
from zramfs.memory import MemFile
from zramfs.units import PAGE_SIZE

END = NR_SLOTS * PAGE_SIZE


def corrupt(device: Device, index: int) -> None:
    slot = next(slot for slot in used_slots(device.store) if slot.index == index)
    device.store._pool.write(*slot.place, b"\xff" * slot.size)


def test_a_new_device_is_bare(bare: Device) -> None:
    assert bare.state is State.BARE
    assert (bare.disksize, bare.mem_limit, bare.openers) == (0, 0, 0)
    assert bare.config.algorithms[0] == "lz4"


@pytest.mark.parametrize(
    ("disksize", "rounded"), [(1, 4096), (4096, 4096), (4097, 8192)]
)
def test_disksize_is_rounded_up_to_whole_pages(
    bare: Device, disksize: int, rounded: int
) -> None:
    bare.set_disksize(disksize)

    assert (bare.state, bare.disksize) == (State.READY, rounded)


def test_disksize_is_frozen_after_init(device: Device) -> None:
    with pytest.raises(DeviceBusy, match="disksize refused: the device is initialised"):
        device.set_disksize(PAGE_SIZE)

    assert device.disksize == END


def test_a_disksize_that_cannot_be_had_changes_nothing(bare: Device) -> None:
    bare.set_algorithm(0, "zstd")
    with pytest.raises(OutOfMemory, match="cannot map"):
        bare.set_disksize(1 << 60)

    state = bare.state, bare.disksize, bare.config.algorithms[0]
    assert state == (State.BARE, 0, "zstd")
    bare.set_disksize(PAGE_SIZE)
    assert bare.disksize == PAGE_SIZE


def test_a_bare_device_has_no_pages(bare: Device) -> None:
    with pytest.raises(NotInitialised, match="no disksize"):
        _ = bare.store


def test_a_bare_device_reads_nothing_and_takes_nothing(bare: Device) -> None:
    assert bare.read(0, PAGE_SIZE) == b""
    with pytest.raises(NoSpace, match="write at 0, the device ends at 0"):
        write_page(bare, 0, "zero")

    assert not any(bare.counters.values().values())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_each_algorithm_keeps_pages(bare: Device, name: str) -> None:
    bare.set_algorithm(0, name)
    bare.set_disksize(END)
    for index, kind in enumerate(["text", "half", "rand", "same:5"]):
        write_page(bare, index, kind)
        assert bare.read(index * PAGE_SIZE, PAGE_SIZE) == make_page(kind, index)


def test_an_algorithm_must_have_been_looked_up(bare: Device) -> None:
    with pytest.raises(AssertionError, match="lzo"):
        bare.set_algorithm(0, "lzo")


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, END, END),
        (0, 2 * END, END),
        (END - PAGE_SIZE, PAGE_SIZE, PAGE_SIZE),
        (END - PAGE_SIZE, 2 * PAGE_SIZE, PAGE_SIZE),
        (END - 1, PAGE_SIZE, 1),
        (END - 5000, 9000, 5000),
        (END, 1, 0),
        (END + 1, PAGE_SIZE, 0),
        (1 << 62, PAGE_SIZE, 0),
        (0, 0, 0),
    ],
)
def test_a_read_ends_with_the_device(
    device: Device, offset: int, length: int, expected: int
) -> None:
    assert device.read(offset, length) == bytes(expected)


def test_a_write_across_the_end_is_short(device: Device) -> None:
    data = make_page("rand") * 3

    assert write(device, END - PAGE_SIZE - 100, data) == PAGE_SIZE + 100
    assert device.read(END - PAGE_SIZE - 100, END) == data[: PAGE_SIZE + 100]


@pytest.mark.parametrize("offset", [END, END + 1, 1 << 62])
def test_a_write_from_the_end_on_finds_no_space(device: Device, offset: int) -> None:
    with pytest.raises(NoSpace, match=f"write at {offset}, the device ends at {END}"):
        write(device, offset, b"data")

    assert not any(device.counters.values().values())


@pytest.mark.parametrize("offset", [0, 1, 511, 4095, 4096, 4097, 8000])
@pytest.mark.parametrize("length", [1, 8, 4095, 4096, 4097, 8192, 12289])
def test_bytes_anywhere_come_back_and_leave_their_neighbours(
    device: Device, offset: int, length: int
) -> None:
    expected = bytearray(b"".join(make_page("text", index) for index in range(6)))
    write(device, 0, bytes(expected))
    data = (make_page("rand") * 4)[:length]
    expected[offset : offset + length] = data

    assert write(device, offset, data) == length
    assert device.read(0, len(expected)) == expected
    assert device.read(offset, length) == data


def test_part_of_a_page_that_was_never_written_is_written(device: Device) -> None:
    write(device, PAGE_SIZE + 10, b"x")

    assert device.read(PAGE_SIZE, PAGE_SIZE) == bytes(10) + b"x" + bytes(4085)


def test_requests_and_sectors_are_counted(device: Device) -> None:
    write(device, 0, bytes(3 * PAGE_SIZE))
    write(device, END - PAGE_SIZE, bytes(2 * PAGE_SIZE))
    device.read(0, 2 * PAGE_SIZE)
    device.read(END, PAGE_SIZE)

    stat = device.block_stat()

    assert (stat.reads, stat.read_sectors) == (1, 16)
    assert (stat.writes, stat.write_sectors) == (2, 32)


def test_a_corrupt_page_fails_the_read(device: Device) -> None:
    write_page(device, 3, "text")
    corrupt(device, 3)

    with pytest.raises(ReadFailed, match="page 3: lz4: "):
        device.read(0, END)

    assert device.io_stat().failed_reads == 1
    assert device.block_stat().reads == 1


def test_part_of_a_corrupt_page_cannot_be_written(device: Device) -> None:
    write_page(device, 3, "text")
    corrupt(device, 3)

    with pytest.raises(WriteFailed, match="page 3: lz4: "):
        write(device, 3 * PAGE_SIZE + 1, b"x")

    assert device.io_stat().failed_writes == 1


def test_a_corrupt_page_can_be_overwritten(device: Device) -> None:
    write_page(device, 3, "text")
    corrupt(device, 3)
    write_page(device, 3, "half")

    assert device.read(3 * PAGE_SIZE, PAGE_SIZE) == make_page("half", 3)


def test_reset_drops_pages_statistics_and_settings(bare: Device) -> None:
    bare.set_algorithm(0, "zstd")
    bare.set_mem_limit(PAGE_SIZE)
    bare.set_disksize(END)
    write_page(bare, 0, "rand")
    discard(bare, 0, 1)

    bare.reset()

    assert bare.state is State.BARE
    assert (bare.disksize, bare.mem_limit, bare.config.algorithms[0]) == (0, 0, "lz4")
    assert not any(bare.counters.values().values())
    assert set(str(bare.mm_stat()).split()) == {"0"}


def test_a_bare_device_can_be_reset(bare: Device) -> None:
    bare.set_algorithm(0, "zstd")
    bare.set_mem_limit(PAGE_SIZE)

    bare.reset()

    assert (bare.mem_limit, bare.config.algorithms[0]) == (0, "lz4")


def test_a_new_life_begins_with_zeros(device: Device) -> None:
    for index in range(NR_SLOTS):
        write_page(device, index, "rand" if index % 2 else "text")
    device.reset()
    device.set_disksize(END)

    assert device.read(0, END) == bytes(END)


@pytest.mark.parametrize("initialised", [False, True])
def test_an_open_device_cannot_be_reset(bare: Device, *, initialised: bool) -> None:
    if initialised:
        bare.set_disksize(END)
        write_page(bare, 0, "text")
    state = bare.state
    bare.open()
    bare.open()
    bare.release()

    with pytest.raises(DeviceBusy, match=r"reset refused: the swapfile is open \(1\)"):
        bare.reset()

    assert bare.state is state
    bare.release()
    bare.reset()
    assert bare.state is State.BARE


class CuriousMemory(MemFile):
    """Memory whose device is looked at while it is being reset."""

    device: Device | None = None
    seen: State | None = None

    def unmap(self) -> None:
        if self.device:
            self.seen = self.device.state
            with pytest.raises(DeviceBusy, match="the device is being reset"):
                self.device.open()
        super().unmap()


def test_a_device_that_is_being_reset_cannot_be_opened() -> None:
    memory = CuriousMemory()
    memory.device = Device(memory)
    memory.device.set_disksize(END)

    memory.device.reset()

    assert memory.seen is State.RESETTING
    assert memory.device.openers == 0


def test_compaction_of_a_bare_device_is_refused(bare: Device) -> None:
    with pytest.raises(NotInitialised, match="no disksize"):
        bare.compact()


def test_compaction_is_counted(device: Device) -> None:
    for index in range(NR_SLOTS):
        write_page(device, index, "half")
    discard(device, 0, NR_SLOTS // 2)
    before = device.mm_stat()

    list(device.compact())

    after = device.mm_stat()
    given_back = before.mem_used_total - after.mem_used_total
    assert after.pages_compacted == given_back // PAGE_SIZE == 16


def test_the_clock_of_a_device_is_set_from_outside(device: Device) -> None:
    device.tick(7)
    write_page(device, 0, "text")

    assert device.store._ac_time[0] == 7


def test_the_clock_goes_on_without_a_disksize(bare: Device) -> None:
    bare.tick(7)
    bare.set_disksize(END)
    assert bare.store.now_s == 7

    bare.reset()
    bare.set_disksize(END)

    assert bare.store.now_s == 7


def test_slots_are_counted_by_flag_in_any_state(bare: Device) -> None:
    assert bare.nr_flagged(HUGE) == 0

    bare.set_disksize(END)
    write_page(bare, 0, "rand")

    assert bare.nr_flagged(HUGE) == 1
