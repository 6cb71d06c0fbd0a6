"""zramfs.mount.rw_page: what is not answered in place, and the marks of what is."""

import errno
import os
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.pages import make_page
from tests.unit.mount import wires
from tests.unit.mount.rig import Rig, opened_rig
from tests.unit.mount.wires import Reply
from tests.unit.requests import discard, write, write_page
from zramfs.core.device import Device
from zramfs.core.slots import NO_WB
from zramfs.mount.paths import RwPage
from zramfs.units import PAGE_SIZE

LARGE = 1 << 30
"""More than is discarded in place."""
MANY = 8192
"""More pages than one step of a discard frees."""


@pytest.fixture
def large_rig(bare: Device) -> Iterator[Rig]:
    """A lane in front of a device whose discard takes many steps."""
    bare.set_disksize(LARGE)
    write(bare, 0, bytes(MANY * PAGE_SIZE))
    with opened_rig(bare) as rig:
        yield rig


def nr_no_wb(rig: Rig) -> int:
    return rig.device.nr_flagged(NO_WB)


def test_a_declined_request_is_answered_the_same(rig: Rig) -> None:
    rig.paths.select(RwPage.OFF)
    page = make_page("rand")

    answers = rig.ask(wires.write(1, 100, page))
    answers += rig.ask(wires.read(2, 100, PAGE_SIZE))

    assert answers == [Reply(1, 0, wires.written(PAGE_SIZE)), Reply(2, 0, page)]


def test_declined_requests_are_counted_where_they_went(rig: Rig) -> None:
    rig.paths.select(RwPage.OFF)

    rig.ask(wires.write(1, 0, b"x"), wires.read(2, 0, 1), wires.read(3, 0, 1))

    stat = rig.paths.stat
    assert (stat.declined_writes, stat.declined_reads) == (1, 2)
    assert (stat.bio_writes, stat.bio_reads) == (1, 2)
    assert (stat.lane_writes, stat.lane_reads) == (0, 0)


def test_requests_answered_in_place_are_counted_as_such(rig: Rig) -> None:
    rig.ask(wires.write(1, 0, b"x"), wires.read(2, 0, 1), wires.read(3, 0, 1))

    stat = rig.paths.stat
    assert (stat.lane_writes, stat.lane_reads) == (1, 2)
    assert (stat.declined_writes, stat.declined_reads) == (0, 0)
    assert (stat.bio_writes, stat.bio_reads) == (0, 0)


def test_each_declined_write_keeps_its_own_data(rig: Rig) -> None:
    rig.paths.select(RwPage.OFF)
    pages = [make_page("rand", index) for index in range(8)]

    rig.ask(*(wires.write(i, i * PAGE_SIZE, page) for i, page in enumerate(pages, 1)))

    assert rig.device.read(PAGE_SIZE, 8 * PAGE_SIZE) == b"".join(pages)


def test_a_declined_write_that_fails_is_answered(rig: Rig) -> None:
    rig.paths.select(RwPage.OFF)
    end = rig.device.disksize

    assert rig.ask(wires.write(1, end, b"x")) == [Reply(1, -errno.ENOSPC)]


def test_a_mode_counts_from_the_next_request_on(rig: Rig) -> None:
    rig.ask(wires.read(1, 0, 1))
    rig.paths.select(RwPage.OFF)
    rig.ask(wires.read(2, 0, 1))
    rig.paths.select(RwPage.ALWAYS)
    rig.ask(wires.read(3, 0, 1))

    assert (rig.paths.stat.lane_reads, rig.paths.stat.bio_reads) == (2, 1)


def test_discards_and_seeks_are_answered_in_place_in_every_mode(rig: Rig) -> None:
    rig.paths.select(RwPage.OFF)
    write_page(rig.device, 0, "text")

    answers = rig.ask(wires.fallocate(1, 0, PAGE_SIZE), wires.lseek(2, 0, os.SEEK_HOLE))

    assert answers == [Reply(1, 0), Reply(2, 0, wires.found(0))]


def test_the_first_read_in_place_marks_a_page_no_wb(rig: Rig) -> None:
    rig.paths.select(RwPage.NO_WB)
    write_page(rig.device, 0, "text")
    write_page(rig.device, 1, "text")

    rig.ask(wires.read(1, 0, PAGE_SIZE), wires.read(2, 0, PAGE_SIZE))

    assert nr_no_wb(rig) == 1


@pytest.mark.parametrize("kind", ["text", "rand", "same:7", "zero"])
def test_pages_of_every_kind_are_marked(rig: Rig, kind: str) -> None:
    rig.paths.select(RwPage.NO_WB)
    write_page(rig.device, 3, kind)

    [answer] = rig.ask(wires.read(1, 3 * PAGE_SIZE, PAGE_SIZE))

    assert answer.body == make_page(kind, 3)
    assert nr_no_wb(rig) == 1


def test_a_page_that_was_never_written_is_not_marked(rig: Rig) -> None:
    rig.paths.select(RwPage.NO_WB)

    rig.ask(wires.read(1, 0, PAGE_SIZE))

    assert nr_no_wb(rig) == 0


@pytest.mark.parametrize("mode", [RwPage.ALWAYS, RwPage.OFF])
def test_other_modes_mark_nothing(rig: Rig, mode: RwPage) -> None:
    rig.paths.select(mode)
    write_page(rig.device, 0, "text")

    rig.ask(wires.read(1, 0, PAGE_SIZE))

    assert nr_no_wb(rig) == 0


def test_reads_by_bio_leave_the_mark_as_it_is(rig: Rig) -> None:
    write_page(rig.device, 0, "text")
    write_page(rig.device, 1, "text")
    rig.paths.select(RwPage.NO_WB)
    rig.ask(wires.read(1, 0, PAGE_SIZE))
    rig.paths.select(RwPage.OFF)

    rig.ask(wires.read(2, 0, PAGE_SIZE), wires.read(3, PAGE_SIZE, PAGE_SIZE))

    assert nr_no_wb(rig) == 1


def test_a_write_takes_the_mark_off(rig: Rig) -> None:
    rig.paths.select(RwPage.NO_WB)
    write_page(rig.device, 0, "text")
    rig.ask(wires.read(1, 0, PAGE_SIZE))

    rig.ask(wires.write(2, 0, make_page("half")))

    assert nr_no_wb(rig) == 0


def test_a_discard_takes_the_mark_off(rig: Rig) -> None:
    rig.paths.select(RwPage.NO_WB)
    write_page(rig.device, 0, "text")
    rig.ask(wires.read(1, 0, PAGE_SIZE))

    rig.ask(wires.fallocate(2, 0, PAGE_SIZE))

    assert nr_no_wb(rig) == 0


def test_compaction_keeps_the_mark(rig: Rig) -> None:
    rig.paths.select(RwPage.NO_WB)
    for index in range(8):
        write_page(rig.device, index, "half")
    rig.ask(wires.read(1, 7 * PAGE_SIZE, PAGE_SIZE))
    discard(rig.device, 0, 7)

    list(rig.device.compact())

    assert nr_no_wb(rig) == 1


def test_a_large_discard_lets_reads_in(large_rig: Rig) -> None:
    answers = large_rig.ask(
        wires.fallocate(1, 0, LARGE), wires.read(2, LARGE - PAGE_SIZE, PAGE_SIZE)
    )

    assert [answer.unique for answer in answers] == [2, 1]
    assert answers[1] == Reply(1, 0)
    assert large_rig.device.mm_stat().orig_data_size == 0
    assert large_rig.device.io_stat().notify_free == LARGE // PAGE_SIZE


def test_a_large_discard_counts_once(large_rig: Rig) -> None:
    large_rig.ask(wires.fallocate(1, 0, LARGE))

    assert large_rig.paths.stat.discards == 1


def test_a_large_discard_without_a_disksize_is_refused(bare: Device) -> None:
    with opened_rig(bare) as rig:
        assert rig.ask(wires.fallocate(1, 0, LARGE)) == [Reply(1, -errno.EINVAL)]


def test_a_discard_ends_unfinished_with_the_mount(large_rig: Rig) -> None:
    async def end_at_once() -> None:
        large_rig.kernel.send(wires.fallocate(1, 0, LARGE))
        async with large_rig.serving():
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()

    trio.run(end_at_once)

    assert large_rig.answers() == []
    assert 0 < large_rig.device.mm_stat().orig_data_size < MANY * PAGE_SIZE


def test_control_files_are_served_while_a_discard_goes_on(large_rig: Rig) -> None:
    order: list[str] = []

    async def relayed() -> None:
        await trio.lowlevel.wait_readable(large_rig.libfuse)
        order.append("relayed")

    async def answered() -> None:
        await trio.lowlevel.wait_readable(large_rig.kernel)
        order.append("discarded")

    async def main() -> None:
        large_rig.kernel.send(wires.fallocate(1, 0, LARGE))
        large_rig.kernel.send(wires.request(wires.GETATTR, 2))
        async with large_rig.serving(), trio.open_nursery() as nursery:
            nursery.start_soon(relayed)
            nursery.start_soon(answered)
            await wait_all_tasks_blocked()

    trio.run(main)

    assert order == ["relayed", "discarded"]
