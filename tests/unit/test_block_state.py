"""zramfs.core.block_state: debugfs' lines, to the byte."""

from collections.abc import Iterator

import pytest

from tests.unit.conftest import NR_SLOTS
from tests.unit.passes import fill, flags, opened, request, run
from tests.unit.requests import discard, write_page
from zramfs.core import slots
from zramfs.core.block_state import LINE_BYTES, read_block_state
from zramfs.core.device import Device
from zramfs.core.table import Words
from zramfs.errors import NotInitialised

MUCH = 1 << 20


def test_a_line_is_as_in_debugfs(bare: Device) -> None:
    opened(bare, "lz4", "zstd")
    bare.tick(4294967295)
    fill(bare, "same:5", "text")
    bare.tick(7)
    fill(bare, "zero")

    text, after = read_block_state(bare, 0, MUCH)

    assert text == (
        b"           0            7.000000 s.....\n"
        b"           1   4294967295.000000 ......\n"
    )
    assert after == 2
    assert len(text) // 2 == LINE_BYTES


def test_each_flag_has_its_letter(bare: Device) -> None:
    opened(bare, "lz4", "zstd")
    fill(bare, "same:5", "rand", "text", "half", "text")
    run(bare.recompress(request()))
    run(bare.mark_idle(None))
    resident = bare.store.table.words[4]
    bare.store.table.words[4] |= slots.WB

    shown = flags(bare)

    bare.store.table.words[4] = resident
    assert shown == {0: "s.....", 1: "..hi.n", 2: "...ir.", 3: "...i.n", 4: ".w.ir."}


def test_marks_of_a_pass_are_not_shown(device: Device) -> None:
    fill(device, "text")
    device.store.table.words[0] |= slots.PP_SLOT | slots.NO_WB

    shown = flags(device)

    device.store.claims.end_pass()
    assert shown == {0: "......"}


def test_only_stored_pages_are_listed(device: Device) -> None:
    assert read_block_state(device, 0, MUCH) == (b"", 0)

    fill(device, "text", "text", "zero")
    discard(device, 0, 1)

    assert list(flags(device)) == [1, 2]


@pytest.mark.parametrize(
    ("size", "nr_lines"),
    [(0, 0), (1, 0), (39, 0), (40, 0), (41, 1), (80, 1), (81, 2), (121, 3), (999, 3)],
)
def test_a_read_returns_whole_lines_with_a_byte_to_spare(
    device: Device, size: int, nr_lines: int
) -> None:
    fill(device, "text", "text", "text")

    text, after = read_block_state(device, 0, size)

    assert len(text) == nr_lines * LINE_BYTES
    assert after == nr_lines


def test_reading_goes_on_at_a_slot(device: Device) -> None:
    fill(device, *["text"] * 9)
    discard(device, 3, 2)
    lines = []
    after = 0
    while True:
        text, after = read_block_state(device, after, 81)
        if not text:
            break
        lines.append([int(line.split()[0]) for line in text.splitlines()])

    assert lines == [[0, 1], [2, 5], [6, 7], [8]]
    assert after == 9


def test_there_is_nothing_behind_the_end(device: Device) -> None:
    fill(device, "text")

    assert read_block_state(device, NR_SLOTS, MUCH) == (b"", NR_SLOTS)
    assert read_block_state(device, 1, MUCH) == (b"", 1)


@pytest.mark.parametrize("size", [0, 40, MUCH])
def test_a_bare_device_has_no_state(bare: Device, size: int) -> None:
    with pytest.raises(NotInitialised, match="no disksize"):
        read_block_state(bare, 0, size)


def test_a_read_of_a_few_lines_looks_at_a_few_slots(
    bare: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(bare, "lz4", nr_slots=1 << 16)
    for index in range(0, 1 << 16, 64):
        write_page(bare, index, "text")
    seen: list[int] = []
    scan = bare.store.table.scan

    def watched(start: int, stop: int) -> Iterator[tuple[int, Words]]:
        for first, words in scan(start, stop):
            seen.append(words.size)
            yield first, words

    monkeypatch.setattr(
        "zramfs.core.table.SlotTable.scan", lambda _, *run: watched(*run)
    )
    text, _ = read_block_state(bare, 0, 10 * LINE_BYTES + 1)

    assert len(text) == 10 * LINE_BYTES
    assert sum(seen) <= 2048
