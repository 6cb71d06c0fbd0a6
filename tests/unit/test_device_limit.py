"""zramfs.core.device: mem_limit and mem_used_max."""

import pytest

from tests.pages import make_page
from tests.unit.conftest import NR_SLOTS
from tests.unit.requests import write, write_page
from zramfs.core.device import Device
from zramfs.errors import WriteFailed
from zramfs.units import PAGE_SIZE

END = NR_SLOTS * PAGE_SIZE


def test_a_page_over_the_limit_fails_the_write(device: Device) -> None:
    device.set_mem_limit(16 * PAGE_SIZE)
    for index in range(16):
        write_page(device, index, "rand")

    with pytest.raises(WriteFailed, match="page 16: 16 pages in use"):
        write_page(device, 16, "rand")

    assert device.io_stat().failed_writes == 1
    assert device.mm_stat().mem_used_max == 17 * PAGE_SIZE
    assert device.mm_stat().mem_used_total == 16 * PAGE_SIZE
    assert device.read(16 * PAGE_SIZE, PAGE_SIZE) == bytes(PAGE_SIZE)


def test_one_large_write_stops_at_the_limit_and_fails_once(device: Device) -> None:
    device.set_mem_limit(16 * PAGE_SIZE)
    data = b"".join(make_page("rand", index) for index in range(32))

    with pytest.raises(WriteFailed, match="page 16"):
        write(device, 0, data)

    assert device.io_stat().failed_writes == 1
    assert device.read(0, 16 * PAGE_SIZE) == data[: 16 * PAGE_SIZE]
    assert device.read(16 * PAGE_SIZE, END) == bytes(END - 16 * PAGE_SIZE)


def test_the_pages_behind_the_failing_one_are_not_written(device: Device) -> None:
    device.set_mem_limit(PAGE_SIZE)
    data = make_page("rand") * 2 + make_page("same:7")

    with pytest.raises(WriteFailed, match="page 1"):
        write(device, 0, data)

    assert device.read(2 * PAGE_SIZE, PAGE_SIZE) == bytes(PAGE_SIZE)


def test_overwriting_at_the_limit_fails_and_keeps_the_old_page(device: Device) -> None:
    device.set_mem_limit(PAGE_SIZE)
    write_page(device, 0, "rand")

    with pytest.raises(WriteFailed, match="page 0"):
        write_page(device, 0, "rand:9")

    assert device.read(0, PAGE_SIZE) == make_page("rand")


def test_part_of_a_page_over_the_limit_keeps_the_old_page(device: Device) -> None:
    device.set_mem_limit(PAGE_SIZE)
    write_page(device, 0, "rand")

    with pytest.raises(WriteFailed, match="page 0"):
        write(device, 100, b"x")

    assert device.read(0, PAGE_SIZE) == make_page("rand")


def test_the_limit_may_be_set_before_and_after_init(bare: Device) -> None:
    bare.set_mem_limit(1)
    bare.set_disksize(END)
    write_page(bare, 0, "rand")
    with pytest.raises(WriteFailed, match="1 pages in use"):
        write_page(bare, 1, "rand")

    bare.set_mem_limit(0)

    write_page(bare, 1, "rand")
    assert bare.mm_stat().mem_limit == 0


def test_the_limit_may_be_set_below_what_is_used(device: Device) -> None:
    for index in range(3):
        write_page(device, index, "rand")
    device.set_mem_limit(PAGE_SIZE)

    assert device.mm_stat().mem_used_total == 3 * PAGE_SIZE
    with pytest.raises(WriteFailed, match="page 9"):
        write_page(device, 9, "text")
    write_page(device, 9, "zero")


def test_mem_used_max_begins_anew_at_what_is_used(device: Device) -> None:
    for index in range(3):
        write_page(device, index, "rand")
    write(device, 0, bytes(2 * PAGE_SIZE))
    device.reset_mem_used_max()

    assert device.mm_stat().mem_used_max == PAGE_SIZE


def test_mem_used_max_of_a_bare_device_may_begin_anew(bare: Device) -> None:
    bare.reset_mem_used_max()

    assert bare.mm_stat().mem_used_max == 0


def test_a_failed_write_is_counted_whole_among_the_requests(device: Device) -> None:
    device.set_mem_limit(PAGE_SIZE)

    with pytest.raises(WriteFailed, match="page 1"):
        write(device, 0, make_page("rand") * 3)

    stat = device.block_stat()
    assert (stat.writes, stat.write_sectors) == (1, 24)
