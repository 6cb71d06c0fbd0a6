"""zramfs.mount.paths: the mode of rw_page, and the requests of each path."""

import pytest

from tests.unit.requests import write_page
from zramfs.core.device import Device
from zramfs.core.header import Header
from zramfs.core.slots import NO_WB
from zramfs.errors import InvalidValue
from zramfs.mount.paths import Paths, RwPage, parse_rw_page
from zramfs.units import PAGE_SIZE

STATS = (
    *("lane_reads", "lane_writes", "declined_reads", "declined_writes"),
    *("bio_reads", "bio_writes", "discards", "spins", "spins_paid"),
    *("declined_spilled", "no_wb_slots"),
)


@pytest.mark.parametrize(
    ("mode", "is_synchronous", "mark"),
    [(RwPage.ALWAYS, True, 0), (RwPage.NO_WB, True, NO_WB), (RwPage.OFF, False, 0)],
    ids=lambda value: value.value if isinstance(value, RwPage) else None,
)
def test_a_mode_says_whether_requests_are_answered_in_place(
    mode: RwPage, *, is_synchronous: bool, mark: int
) -> None:
    paths = Paths(RwPage.ALWAYS)

    paths.select(mode)

    assert (paths.is_synchronous, paths.mark) == (is_synchronous, mark)


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (RwPage.ALWAYS, "[always] no_wb off\n"),
        (RwPage.NO_WB, "always [no_wb] off\n"),
        (RwPage.OFF, "always no_wb [off]\n"),
    ],
    ids=lambda value: value.value if isinstance(value, RwPage) else None,
)
def test_the_mode_in_use_is_in_brackets(mode: RwPage, text: str) -> None:
    assert Paths(mode).show() == text


@pytest.mark.parametrize("mode", RwPage)
@pytest.mark.parametrize("end", ["", "\n"], ids=["bare", "newline"])
def test_a_mode_is_known_by_its_name(mode: RwPage, end: str) -> None:
    assert parse_rw_page(mode.value + end) is mode


@pytest.mark.parametrize(
    "text", ["", "\n", "Always", "always ", " off", "off\n\n", "[off]", "on", "1"]
)
def test_anything_else_is_no_mode(text: str) -> None:
    with pytest.raises(InvalidValue, match="not one of always no_wb off"):
        parse_rw_page(text)


def test_every_counter_is_a_line(device: Device) -> None:
    text = Paths(RwPage.ALWAYS).show_stat(device)

    assert text == "".join(f"{name} 0\n" for name in STATS)


def test_counters_are_shown_as_they_are(device: Device) -> None:
    paths = Paths(RwPage.ALWAYS)
    paths.stat.lane_reads = 3
    paths.stat.spins_paid = 7
    write_page(device, 0, "text")
    device.read(0, PAGE_SIZE, NO_WB)

    lines = paths.show_stat(device).splitlines()

    assert {"lane_reads 3", "spins_paid 7", "no_wb_slots 1"} <= set(lines)


def test_a_device_without_a_disksize_has_counters_too(bare: Device) -> None:
    assert Paths(RwPage.OFF).show_stat(bare).endswith("no_wb_slots 0\n")


def test_selecting_a_mode_keeps_the_counters() -> None:
    paths = Paths(RwPage.ALWAYS)
    paths.stat.spins = 5

    paths.select(RwPage.OFF)

    assert paths.stat.spins == 5


def test_mode_and_counters_are_found_again_in_their_header() -> None:
    header = Header()
    paths = Paths(RwPage.ALWAYS, header)
    paths.select(RwPage.NO_WB)
    paths.stat.discards = 4

    again = Paths(RwPage.ALWAYS, header)

    assert (again.mode, again.mark, again.stat.discards) == (RwPage.NO_WB, NO_WB, 4)
