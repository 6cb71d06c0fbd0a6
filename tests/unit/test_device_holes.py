"""zramfs.core.device: discard, and where data and holes are."""

import pytest

from tests.pages import make_page
from tests.unit.conftest import NR_SLOTS
from tests.unit.requests import write, write_page
from zramfs.core.device import Device
from zramfs.errors import NoData
from zramfs.units import PAGE_SIZE

END = NR_SLOTS * PAGE_SIZE


@pytest.mark.parametrize(
    ("offset", "length", "nr_freed"),
    [
        (0, END, 64),
        (0, 2 * END, 64),
        (0, 0, 0),
        (0, 1, 0),
        (1, 4094, 0),
        (1, 4096, 0),
        (100, 5000, 0),
        (4095, 2, 0),
        (1, 3 * 4096, 2),
        (1, 3 * 4096 - 2, 1),
        (4096, 4096, 1),
        (4096, 4095, 0),
        (END - 4097, 9000, 1),
        (END - 1, 1, 0),
        (END, 4096, 0),
        (END + 8192, 4096, 0),
    ],
)
def test_a_discard_zeroes_bytes_and_frees_whole_pages(
    device: Device, offset: int, length: int, nr_freed: int
) -> None:
    expected = bytearray(
        b"".join(make_page("part:100", index)[::-1] for index in range(NR_SLOTS))
    )
    write(device, 0, bytes(expected))
    stop = min(offset + length, END)
    if offset < stop:
        expected[offset:stop] = bytes(stop - offset)

    for _ in device.discard(offset, length):
        pass

    assert device.read(0, END) == expected
    assert device.io_stat().notify_free == nr_freed
    assert device.mm_stat().orig_data_size == END - nr_freed * PAGE_SIZE


def test_discarding_part_of_an_empty_page_stores_nothing(device: Device) -> None:
    for _ in device.discard(1, 3 * PAGE_SIZE):
        pass

    assert device.mm_stat().orig_data_size == 0


def test_data_and_holes_are_found_from_any_byte(device: Device) -> None:
    write_page(device, 3, "text")
    page = 3 * PAGE_SIZE

    assert [device.seek_data(offset) for offset in (0, 1, page, page + 5)] == [
        *(page, page, page, page + 5)
    ]
    assert [device.seek_hole(offset) for offset in (0, 5, page, page + 5, END - 1)] == [
        *(0, 5, page + PAGE_SIZE, page + PAGE_SIZE, END - 1)
    ]


@pytest.mark.parametrize("offset", [-1, END, END + 1, 4 * PAGE_SIZE])
def test_there_is_no_data_behind_the_last(device: Device, offset: int) -> None:
    write_page(device, 3, "text")

    with pytest.raises(NoData, match=f"no data from {offset} on"):
        device.seek_data(offset)


@pytest.mark.parametrize("offset", [-1, END, END + 1])
def test_there_is_no_hole_outside_the_device(device: Device, offset: int) -> None:
    with pytest.raises(NoData, match=f"the device ends before {offset}"):
        device.seek_hole(offset)


def test_the_hole_of_a_full_device_is_its_end(device: Device) -> None:
    for index in range(NR_SLOTS):
        write_page(device, index, "text")

    assert device.seek_hole(0) == END
