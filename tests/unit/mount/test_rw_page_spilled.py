"""zramfs.mount.rw_page: requests for written-back pages, that must be waited for."""

import errno
from collections.abc import Iterator

import pytest

from tests.pages import make_page
from tests.unit.conftest import NR_SLOTS
from tests.unit.mount import wires
from tests.unit.mount.rig import DevFuse, Rig
from tests.unit.mount.scripted_io import ScriptedIo
from tests.unit.mount.spilled_rig import attach_memory, spilled_rig
from tests.unit.mount.wires import Reply
from tests.unit.requests import write_page
from tests.verify import verify
from zramfs.core.device import Device
from zramfs.core.store import Store
from zramfs.mount.paths import RwPage
from zramfs.units import PAGE_SIZE

SPILLED = range(4)
RESIDENT = range(4, 8)
END = 8 * PAGE_SIZE

Spilled = tuple[Rig, ScriptedIo]


@pytest.fixture
def spilled(bare: Device) -> Iterator[Spilled]:
    """A lane with eight pages, of which the first four are written back."""
    attach_memory(bare, NR_SLOTS)
    bare.set_disksize(NR_SLOTS * PAGE_SIZE)
    for index in (*SPILLED, *RESIDENT):
        write_page(bare, index, "text")
    with spilled_rig(bare, "page_indexes=0-3") as both:
        yield both
    verify(bare)


def expected(first: int, stop: int) -> bytes:
    return b"".join(make_page("text", index) for index in range(first, stop))


def read(unique: int, index: int) -> bytes:
    return wires.read(unique, index * PAGE_SIZE, PAGE_SIZE)


def test_more_reads_than_there_are_buffers_are_answered(spilled: Spilled) -> None:
    rig, io = spilled
    io.open()
    del io._buffers[2:]

    answers = rig.ask(*(read(unique, unique % 4) for unique in range(1, 9)))

    by_unique = {answer.unique: answer.body for answer in answers}
    assert by_unique == {
        unique: expected(unique % 4, unique % 4 + 1) for unique in range(1, 9)
    }
    assert rig.device.bd_stat().bd_reads == 8
    assert rig.paths.stat.bio_reads == rig.paths.stat.declined_spilled == 8


@pytest.mark.parametrize("mode", RwPage)
def test_a_written_back_page_is_read(spilled: Spilled, mode: RwPage) -> None:
    rig, _ = spilled
    rig.paths.select(mode)

    answers = rig.ask(read(1, 2), read(2, 5))

    by_unique = {answer.unique: answer for answer in answers}
    assert by_unique == {
        1: Reply(1, 0, expected(2, 3)),
        2: Reply(2, 0, expected(5, 6)),
    }
    assert rig.device.bd_stat().bd_reads == 1
    assert rig.device.bd_stat().bd_count == len(SPILLED)
    assert rig.device.counters.reads == 2


def test_resident_pages_are_answered_while_another_is_waited_for(
    spilled: Spilled,
) -> None:
    rig, io = spilled
    io.is_held = True

    during = rig.ask(read(1, 0), *(read(index, index) for index in RESIDENT))
    io.land()

    assert [answer.unique for answer in during] == [*RESIDENT]
    assert rig.answers() == [Reply(1, 0, expected(0, 1))]
    stat = rig.paths.stat
    assert (stat.lane_reads, stat.declined_reads, stat.declined_spilled) == (4, 1, 1)
    assert stat.bio_reads == 1


def test_a_request_of_both_kinds_is_one_answer(spilled: Spilled) -> None:
    rig, _ = spilled

    answers = rig.ask(wires.read(1, PAGE_SIZE // 2, 6 * PAGE_SIZE))

    assert answers == [Reply(1, 0, expected(0, 8)[PAGE_SIZE // 2 :][: 6 * PAGE_SIZE])]


def test_a_synchronous_read_marks_no_page_that_is_not_there(spilled: Spilled) -> None:
    rig, _ = spilled
    rig.paths.select(RwPage.NO_WB)

    rig.ask(read(1, 0), read(2, 5))

    assert "no_wb_slots 1\n" in rig.paths.show_stat(rig.device)


@pytest.mark.parametrize("mode", RwPage)
def test_parts_of_written_back_pages_change(spilled: Spilled, mode: RwPage) -> None:
    rig, _ = spilled
    rig.paths.select(mode)

    written = rig.ask(wires.write(1, 100, b"new"))
    punched = rig.ask(wires.fallocate(2, 3 * PAGE_SIZE - 10, 20, wires.PUNCH_HOLE))
    [found] = rig.ask(wires.read(3, 0, END))

    assert written == [Reply(1, 0, wires.written(3))]
    assert punched == [Reply(2, 0)]
    pages = bytearray(expected(0, 8))
    pages[100:103] = b"new"
    pages[3 * PAGE_SIZE - 10 : 3 * PAGE_SIZE + 10] = bytes(20)
    assert found.body == pages


def test_a_hole_beyond_the_end_is_punched_like_any(spilled: Spilled) -> None:
    rig, _ = spilled
    beyond = NR_SLOTS * PAGE_SIZE + 100

    assert rig.ask(wires.fallocate(1, beyond, 10, wires.PUNCH_HOLE)) == [Reply(1, 0)]


def test_a_page_that_does_not_come_is_an_error_of_its_reader(
    spilled: Spilled, announced: list[str]
) -> None:
    announced.append("page 1 in block")
    rig, io = spilled
    io.faults = {io.nr_started + 1: errno.EIO}

    answers = rig.ask(read(1, 0), read(2, 1), read(3, 2))

    errors = {answer.unique: answer.error for answer in answers}
    assert errors == {1: 0, 2: -errno.EIO, 3: 0}
    assert rig.device.counters.bd_read_errors == 1


def test_a_page_that_there_is_no_memory_for_is_an_error_of_its_reader(
    spilled: Spilled, announced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    announced.append("Cannot allocate memory")
    rig, _ = spilled

    def refuse(*_args: object) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("zramfs.seal.Checksum.open", refuse)
        assert rig.ask(read(1, 0)) == [Reply(1, -errno.EIO)]

    assert rig.ask(read(2, 0)) == [Reply(2, 0, expected(0, 1))]


def test_an_answer_that_the_kernel_refuses_is_an_error_then(
    spilled: Spilled, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, _ = spilled
    dev_fuse = DevFuse(rig.connection, rig.kernel, monkeypatch)
    dev_fuse.write_errors = [errno.ENOMEM]

    assert rig.ask(read(1, 0)) == [Reply(1, -errno.ENOMEM)]


def test_a_read_that_cannot_begin_pins_nothing(
    spilled: Spilled, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, io = spilled

    def refuse(*_args: object) -> None:
        raise OSError(errno.ENOMEM, "no buffers")

    monkeypatch.setattr(io, "read", refuse)
    monkeypatch.setattr(io, "begin_page", refuse)

    answers = rig.ask(read(1, 0), wires.read(2, 0, 2 * PAGE_SIZE))

    assert answers == [Reply(1, -errno.ENOMEM), Reply(2, -errno.ENOMEM)]
    assert not rig.device.store.blocks._pins


def test_a_read_that_begins_and_cannot_be_waited_for_is_refused(
    spilled: Spilled, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, io = spilled
    io.open()
    nr_buffers = len(io._buffers)

    def refuse(*_args: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(Store, "spilled", refuse)

    assert rig.ask(read(1, 0)) == [Reply(1, -errno.ENOMEM)]
    assert not rig.device.store.blocks._pins
    assert len(io._buffers) == nr_buffers
    monkeypatch.undo()
    assert rig.ask(read(2, 0)) == [Reply(2, 0, expected(0, 1))]
