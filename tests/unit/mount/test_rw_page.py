"""zramfs.mount.rw_page: requests answered where they are read, to the byte."""

import errno
import os

import pytest

from tests.pages import make_page
from tests.unit.conftest import NR_SLOTS
from tests.unit.mount import wires
from tests.unit.mount.rig import Rig, opened_rig
from tests.unit.mount.wires import Reply
from tests.unit.requests import write_page
from tests.verify import used_slots
from zramfs.core.device import Device
from zramfs.memory import MemFile
from zramfs.units import PAGE_SIZE

DISKSIZE = NR_SLOTS * PAGE_SIZE
U64_MAX = (1 << 64) - 1


def refused(unique: int, number: int) -> list[Reply]:
    return [Reply(unique, -number)]


def test_a_written_page_is_read_back(rig: Rig) -> None:
    page = make_page("text")

    answers = rig.ask(wires.write(7, 0, page), wires.read(8, 0, PAGE_SIZE))

    assert answers == [Reply(7, 0, wires.written(PAGE_SIZE)), Reply(8, 0, page)]


def test_the_bytes_of_the_answers_are_those_of_fuse_h(rig: Rig) -> None:
    unique = 0x1122334455667788

    messages = rig.ask_raw(wires.write(unique, 0, b"data"), wires.read(unique, 0, 4))

    assert [message.hex(" ", 8) for message in messages] == [
        "1800000000000000 8877665544332211 0400000000000000",
        "14000000 0000000088776655 4433221164617461",
    ]


def test_an_error_is_a_header_with_a_negative_errno(rig: Rig) -> None:
    assert rig.ask(wires.write(3, DISKSIZE, b"x")) == refused(3, errno.ENOSPC)


def test_an_unaligned_write_keeps_the_bytes_around_it(rig: Rig) -> None:
    write_page(rig.device, 0, "rand")
    write_page(rig.device, 1, "rand")
    before = make_page("rand", 0) + make_page("rand", 1)

    rig.ask(wires.write(1, 4090, b"across the edge"))
    [answer] = rig.ask(wires.read(2, 0, 2 * PAGE_SIZE))

    assert answer.body == before[:4090] + b"across the edge" + before[4105:]


def test_an_unaligned_read_takes_parts_of_pages(rig: Rig) -> None:
    write_page(rig.device, 0, "rand")
    write_page(rig.device, 1, "rand")
    pages = make_page("rand", 0) + make_page("rand", 1)

    assert rig.ask(wires.read(1, 4000, 200)) == [Reply(1, 0, pages[4000:4200])]


def test_many_pages_are_one_request(rig: Rig) -> None:
    data = b"".join(make_page("text", page) for page in range(16))

    answers = rig.ask(wires.write(1, PAGE_SIZE, data), wires.read(2, PAGE_SIZE, 65536))

    assert answers == [Reply(1, 0, wires.written(65536)), Reply(2, 0, data)]
    assert rig.paths.stat.lane_writes == 1
    assert rig.paths.stat.lane_reads == 1


def test_a_read_is_short_at_the_end_of_the_device(rig: Rig) -> None:
    assert rig.ask(wires.read(1, DISKSIZE - 5, PAGE_SIZE)) == [Reply(1, 0, bytes(5))]


@pytest.mark.parametrize("offset", [DISKSIZE, DISKSIZE + 1, 1 << 63, U64_MAX])
def test_a_read_beyond_the_end_is_empty(rig: Rig, offset: int) -> None:
    assert rig.ask(wires.read(1, offset, PAGE_SIZE)) == [Reply(1, 0)]


def test_a_read_of_nothing_is_empty(rig: Rig) -> None:
    assert rig.ask(wires.read(1, 0, 0)) == [Reply(1, 0)]


def test_a_write_is_short_at_the_end_of_the_device(rig: Rig) -> None:
    answers = rig.ask(wires.write(1, DISKSIZE - 5, b"0123456789"))

    assert answers == [Reply(1, 0, wires.written(5))]
    assert rig.device.read(DISKSIZE - 5, 5) == b"01234"


@pytest.mark.parametrize("offset", [DISKSIZE, 1 << 63, U64_MAX])
def test_a_write_beyond_the_end_is_refused(rig: Rig, offset: int) -> None:
    assert rig.ask(wires.write(1, offset, b"x")) == refused(1, errno.ENOSPC)
    assert rig.device.mm_stat().orig_data_size == 0


def test_a_device_without_a_disksize_reads_empty_and_takes_nothing(
    bare: Device,
) -> None:
    with opened_rig(bare) as rig:
        answers = rig.ask(
            wires.read(1, 0, PAGE_SIZE),
            wires.write(2, 0, b"x"),
            wires.fallocate(3, 0, PAGE_SIZE),
            wires.lseek(4, 0, os.SEEK_HOLE),
        )

    assert answers == [
        Reply(1, 0),
        *refused(2, errno.ENOSPC),
        *refused(3, errno.EINVAL),
        *refused(4, errno.ENXIO),
    ]


def test_a_page_over_the_limit_is_an_error_of_the_write_alone(rig: Rig) -> None:
    write_page(rig.device, 0, "text")
    rig.device.set_mem_limit(PAGE_SIZE)

    answers = rig.ask(wires.write(1, 0, make_page("rand")), wires.read(2, 0, PAGE_SIZE))

    assert answers == [*refused(1, errno.EIO), Reply(2, 0, make_page("text"))]
    assert rig.device.counters.failed_writes == 1


def test_a_corrupt_page_is_an_error_of_the_read_and_logged(
    rig: Rig, announced: list[str]
) -> None:
    write_page(rig.device, 0, "half")
    [slot] = used_slots(rig.device.store)
    rig.device.store._pool.write(*slot.place, b"\xff" * slot.size)
    announced.append("FUSE request 15: page 0")

    answers = rig.ask(wires.read(1, 0, PAGE_SIZE))

    assert answers == refused(1, errno.EIO)
    assert rig.device.counters.failed_reads == 1


@pytest.mark.parametrize("mode", [wires.PUNCH_HOLE, wires.ZERO_RANGE])
def test_a_discard_frees_whole_pages(rig: Rig, mode: int) -> None:
    for index in range(4):
        write_page(rig.device, index, "text")

    answers = rig.ask(wires.fallocate(1, PAGE_SIZE, 2 * PAGE_SIZE, mode))

    assert answers == [Reply(1, 0)]
    assert rig.device.mm_stat().orig_data_size == 2 * PAGE_SIZE
    assert rig.device.io_stat().notify_free == 2
    assert rig.paths.stat.discards == 1


def test_a_discard_zeroes_the_parts_of_pages(rig: Rig) -> None:
    for index in range(3):
        write_page(rig.device, index, "rand")
    pages = b"".join(make_page("rand", index) for index in range(3))

    rig.ask(wires.fallocate(1, 4000, 4500))

    assert (
        rig.device.read(0, 3 * PAGE_SIZE) == pages[:4000] + bytes(4500) + pages[8500:]
    )
    assert rig.device.mm_stat().orig_data_size == 2 * PAGE_SIZE


@pytest.mark.parametrize("mode", [0, 1, 4, 8, 2 | 16, 32, 64, 0xFFFFFFFF])
def test_another_mode_of_fallocate_is_not_supported(rig: Rig, mode: int) -> None:
    write_page(rig.device, 0, "text")

    answers = rig.ask(wires.fallocate(1, 0, PAGE_SIZE, mode))

    assert answers == refused(1, errno.EOPNOTSUPP)
    assert rig.paths.stat.discards == 0


@pytest.mark.parametrize(
    ("offset", "length"), [(DISKSIZE, PAGE_SIZE), (U64_MAX, U64_MAX), (U64_MAX, 1)]
)
def test_a_discard_beyond_the_end_frees_nothing(
    rig: Rig, offset: int, length: int
) -> None:
    write_page(rig.device, 0, "text")

    assert rig.ask(wires.fallocate(1, offset, length)) == [Reply(1, 0)]
    assert rig.device.mm_stat().orig_data_size == PAGE_SIZE


@pytest.mark.parametrize(
    ("whence", "offset", "found"),
    [
        (os.SEEK_DATA, 0, 2 * PAGE_SIZE),
        (os.SEEK_DATA, 2 * PAGE_SIZE + 5, 2 * PAGE_SIZE + 5),
        (os.SEEK_HOLE, 0, 0),
        (os.SEEK_HOLE, 2 * PAGE_SIZE, 3 * PAGE_SIZE),
        (os.SEEK_HOLE, DISKSIZE - 1, DISKSIZE - 1),
    ],
)
def test_data_and_holes_are_found(
    rig: Rig, whence: int, offset: int, found: int
) -> None:
    write_page(rig.device, 2, "text")

    answers = rig.ask(wires.lseek(1, offset, whence))

    assert answers == [Reply(1, 0, wires.found(found))]


@pytest.mark.parametrize(
    ("whence", "offset"),
    [
        (os.SEEK_DATA, PAGE_SIZE),
        (os.SEEK_DATA, DISKSIZE),
        (os.SEEK_HOLE, DISKSIZE),
        (os.SEEK_HOLE, U64_MAX),
    ],
)
def test_where_nothing_is_to_be_found_is_no_such_address(
    rig: Rig, whence: int, offset: int
) -> None:
    write_page(rig.device, 0, "text")

    assert rig.ask(wires.lseek(1, offset, whence)) == refused(1, errno.ENXIO)


@pytest.mark.parametrize("whence", [os.SEEK_SET, os.SEEK_CUR, os.SEEK_END, 5, 1 << 31])
def test_other_seeks_are_invalid(rig: Rig, whence: int) -> None:
    assert rig.ask(wires.lseek(1, 0, whence)) == refused(1, errno.EINVAL)


TOO_SHORT = {
    "READ": wires.request(wires.READ, 1, bytes(39)),
    "READ without a body": wires.request(wires.READ, 1),
    "WRITE": wires.request(wires.WRITE, 1, bytes(39)),
    "WRITE with less data than it says": wires.write(1, 0, b"page")[:-1],
    "FALLOCATE": wires.request(wires.FALLOCATE, 1, bytes(31)),
    "LSEEK": wires.request(wires.LSEEK, 1, bytes(23)),
}


@pytest.mark.parametrize("message", TOO_SHORT.values(), ids=TOO_SHORT)
def test_a_request_shorter_than_its_structure_is_invalid(
    rig: Rig, message: bytes
) -> None:
    assert rig.ask(message) == refused(1, errno.EINVAL)
    assert rig.handed_over() == []
    assert rig.device.mm_stat().orig_data_size == 0


class Faulty(Device):
    """A device with a mistake in it."""

    def seek_data(self, offset: int) -> int:
        raise ZeroDivisionError(offset)


def test_an_unexpected_failure_costs_one_request(
    announced: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    announced.append("FUSE request 46 failed")
    with opened_rig(Faulty(MemFile())) as rig:
        answers = rig.ask(wires.lseek(1, 0, os.SEEK_DATA), wires.read(2, 0, 1))

    assert answers == [*refused(1, errno.EIO), Reply(2, 0)]
    assert "Traceback" in caplog.text


def test_requests_are_answered_in_their_order(rig: Rig) -> None:
    requests = [wires.lseek(unique, 0, os.SEEK_HOLE) for unique in range(1, 20)]

    assert [answer.unique for answer in rig.ask(*requests)] == list(range(1, 20))


def test_pages_are_dated_by_the_time_since_boot(rig: Rig) -> None:
    rig.ask(wires.write(1, 0, make_page("text")))

    assert rig.device.store.now_s > 0
