"""Bytes of a device against bytes of a bytearray, at any offset and length."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.verify import opened_device
from zramfs.core.device import Device
from zramfs.errors import NoSpace
from zramfs.units import PAGE_SIZE

END = 3 * PAGE_SIZE

near_a_page = st.builds(
    lambda page, byte: max(0, page * PAGE_SIZE + byte),
    st.integers(0, 4),
    st.integers(-9, 9),
)
offsets = st.one_of(near_a_page, st.integers(0, END + PAGE_SIZE))
writes = st.tuples(offsets, offsets, st.binary(min_size=1, max_size=9))


def write(device: Device, model: bytearray, offset: int, data: bytes) -> None:
    expected = max(0, min(len(data), END - offset))
    if expected:
        assert device.write(offset, memoryview(data)) == expected
    elif data:
        with pytest.raises(NoSpace, match=f"write at {offset}"):
            device.write(offset, memoryview(data))
    model[offset : offset + expected] = data[:expected]


@given(st.lists(writes, max_size=5), st.lists(st.tuples(offsets, offsets), max_size=9))
def test_a_device_is_an_array_of_bytes(
    written: list[tuple[int, int, bytes]], reads: list[tuple[int, int]]
) -> None:
    model = bytearray(END)
    with opened_device() as device:
        device.set_disksize(END)
        for offset, length, pattern in written:
            write(device, model, offset, (pattern * length)[:length])
        for offset, length in reads:
            assert device.read(offset, length) == model[offset : offset + length]

        assert device.read(0, END) == model
