"""zramfs.core.slots: the fields of a slot word."""

from itertools import pairwise

from zramfs.core import slots
from zramfs.units import PAGE_SIZE

FLAGS = (
    slots.SAME,
    slots.WB,
    slots.PP_SLOT,
    slots.HUGE,
    slots.IDLE,
    slots.INCOMPRESSIBLE,
    slots.NO_WB,
)


def test_the_fields_fill_the_word_and_do_not_overlap() -> None:
    payload = slots.MAX_PAYLOAD << slots.PAYLOAD_SHIFT
    fields = (slots.SIZE_MASK, *FLAGS, slots.PRIORITY_MASK, payload)

    assert sum(fields) == (1 << 64) - 1
    assert all(low & -low > 0 and low < high for low, high in pairwise(fields))


def test_the_size_field_holds_a_whole_page() -> None:
    assert slots.SIZE_MASK >= PAGE_SIZE


def test_an_access_takes_off_the_marks_of_the_user_and_of_a_scan() -> None:
    assert slots.ACCESS_CLEARS == slots.IDLE | slots.PP_SLOT
