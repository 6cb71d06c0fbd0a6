"""Devices taken over from a process that died: pages, counters, memory, life."""

import os
from collections.abc import Iterator

import pytest

from tests.backed import backed_pages
from tests.backing import FakeBackings, attach, drive, read
from tests.pages import make_page
from tests.recovered import recovered
from tests.unit.conftest import NR_SLOTS
from tests.unit.passes import claimed, opened, request, run
from tests.unit.requests import discard, write_page
from tests.verify import verify
from zramfs.core import codecs
from zramfs.core.attributes import ATTRIBUTES
from zramfs.core.codecs import Params
from zramfs.core.device import Device
from zramfs.core.header import FORMAT_VERSION, HEADER_BYTES
from zramfs.core.lifecycle import State
from zramfs.core.pool import HUGE_CLASS, class_of
from zramfs.core.slots import HUGE, IDLE, NO_WB, PAYLOAD_SHIFT, PP_SLOT
from zramfs.errors import InvalidValue, UnknownFormat
from zramfs.memory import MemFile
from zramfs.units import PAGE_SIZE

KINDS = ("zero", "same:7", "text", "half", "rand", "part:3587", "part:3588")


@pytest.fixture
def bare() -> Iterator[Device]:
    """A device that is not looked at again when another process has it."""
    memory = MemFile()
    yield Device(memory, None, FakeBackings())
    os.close(memory.fd)


def memory_of(device: Device) -> MemFile:
    assert isinstance(device._memory, MemFile)
    return device._memory


def fill(device: Device) -> dict[int, bytes]:
    """Write pages of all kinds, with gaps and holes; return them."""
    for index in range(NR_SLOTS - 10):
        write_page(device, index, KINDS[index % len(KINDS)])
    for first in (0, 20, 31):
        discard(device, first, 7)
    write_page(device, 3, "text")
    return {
        index: device.read(index * PAGE_SIZE, PAGE_SIZE) for index in range(NR_SLOTS)
    }


def test_all_pages_are_there(device: Device) -> None:
    pages = fill(device)

    with recovered(device) as other:
        for index, page in pages.items():
            assert other.read(index * PAGE_SIZE, PAGE_SIZE) == page


def test_all_statistics_are_there(device: Device) -> None:
    fill(device)
    device.set_mem_limit(1 << 30)
    before = device.mm_stat(), device.io_stat(), device.block_stat()

    with recovered(device) as other:
        assert (other.mm_stat(), other.io_stat(), other.block_stat()) == before


def test_counters_go_on_where_they_were(device: Device) -> None:
    write_page(device, 0, "text")

    with recovered(device) as other:
        write_page(other, 0, "text")

        assert other.counters.writes == 2


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_on_is_kept_beside_what_was(device: Device, kind: str) -> None:
    pages = fill(device)

    with recovered(device) as other:
        for index in range(0, NR_SLOTS, 2):
            write_page(other, index, kind)
            pages[index] = make_page(kind, index)
        run(other.compact())
        with recovered(other) as third:
            for index, page in pages.items():
                assert third.read(index * PAGE_SIZE, PAGE_SIZE) == page


def test_an_empty_device_is_recovered(device: Device) -> None:
    with recovered(device) as other:
        assert (other.state, other.disksize) == (State.READY, device.disksize)
        assert other.mm_stat() == device.mm_stat()
        assert backed_pages(memory_of(other)) == 0


def test_slots_keep_their_marks_and_lose_those_of_a_pass(device: Device) -> None:
    write_page(device, 0, "text")
    device.read(0, PAGE_SIZE, NO_WB)
    write_page(device, 2, "text")
    run(device.mark_idle(None))
    write_page(device, 1, "rand")
    for index in range(3):
        claimed(device.store, index)

    with recovered(device) as other:
        words = other.store.table.words
        flags = [words[index] & (NO_WB | IDLE | PP_SLOT | HUGE) for index in range(3)]
        assert flags == [NO_WB, HUGE, IDLE]


def test_a_pass_that_was_under_way_can_be_made_again(bare: Device) -> None:
    opened(bare, "lz4", "zstd")
    fill(bare)
    steps = bare.recompress(request())
    next(steps)

    with recovered(bare) as other:
        run(other.recompress(request()))
        verify(other)


@pytest.mark.parametrize("compressed", [False, True])
def test_written_back_pages_are_found_again(bare: Device, *, compressed: bool) -> None:
    backing = attach(bare, NR_SLOTS)
    bare.backing.compressed = compressed
    bare.set_disksize(NR_SLOTS * PAGE_SIZE)
    pages = fill(bare)
    ATTRIBUTES["writeback_limit"].store(bare, "99")
    drive(ATTRIBUTES["writeback"].store(bare, "page_indexes=7-40"))
    write_page(bare, 10, "text")
    pages[10] = make_page("text", 10)
    before = bare.mm_stat(), bare.bd_stat()

    with recovered(bare) as other:
        assert (other.mm_stat(), other.bd_stat()) == before
        assert other.backing.chosen is backing
        assert other.backing.limit == 99
        for index, page in pages.items():
            assert read(other, index * PAGE_SIZE, PAGE_SIZE) == page
        drive(ATTRIBUTES["writeback"].store(other, "page_index=10"))
        assert other.bd_stat().bd_count == before[1].bd_count + 1


def test_a_backing_device_is_kept_before_the_disksize(bare: Device) -> None:
    attach(bare, 7)

    with recovered(bare) as other:
        assert other.backing.nr_blocks == 7
        other.reset()
        with recovered(other) as third:
            assert third.backing.chosen is None


@pytest.mark.parametrize("kind", ["text", "half", "rand"])
def test_an_object_without_a_slot_is_given_back(device: Device, kind: str) -> None:
    for index in range(9):
        write_page(device, index, kind)
    held = device.mm_stat().mem_used_total
    pool, page = device.store._pool, make_page(kind)
    klass = class_of(device.store.table.words[0] & 8191)
    discard(device, 3, 1)
    for _ in range(2):  # one in the hole, and one behind the tail
        place = pool.alloc(klass)
        pool.write(klass, place, page[: klass << 4])

    with recovered(device) as other:
        assert other.mm_stat().mem_used_total <= held
        assert len(other.store._pool._used[klass]) == 9
        assert other.store._pool._used[klass].count(1) == 8


def test_a_huge_object_that_was_about_to_go_is_given_back(device: Device) -> None:
    for index in range(5):
        write_page(device, index, "rand")
    words = device.store.table.words
    device.store._pool.let_go(words[2] >> PAYLOAD_SHIFT)
    words[2] = 0

    with recovered(device) as other:
        assert other.store._pool.nr_pages == 4
        assert backed_pages(memory_of(other)) == 1 + 4 + 1  # words, pages, times


def test_memory_behind_the_tails_is_given_back(device: Device) -> None:
    write_page(device, 0, "text")
    pool = device.store._pool
    for klass in (1, 9, 200, HUGE_CLASS):
        for index in (7, 50, NR_SLOTS):
            pool.write(klass, index, bytes(klass << 4))

    with recovered(device):  # which verifies what is held
        pass


def test_the_high_water_mark_survives(device: Device) -> None:
    for index in range(9):
        write_page(device, index, "rand")
    discard(device, 0, 9)

    with recovered(device) as other:
        assert other.mm_stat().mem_used_max == 9 * PAGE_SIZE
        other.reset_mem_used_max()
        assert other.mm_stat().mem_used_max == 0


def test_openers_and_limits_survive(device: Device) -> None:
    device.open()
    device.set_mem_limit(5 * PAGE_SIZE)

    with recovered(device) as other:
        assert (other.openers, other.mem_limit) == (1, 5 * PAGE_SIZE)
        assert other.store.limit_pages == 5


@pytest.mark.parametrize("dictionary", [None, b"the quick brown fox" * 20])
def test_algorithms_and_their_dictionaries_survive(
    bare: Device, dictionary: bytes | None
) -> None:
    bare.set_algorithm(0, "lz4")
    bare.set_algorithm(2, "zstd")
    bare.set_params(0, Params(level=3, dictionary=dictionary))
    with recovered(bare) as other:
        assert list(other.config.algorithms) == ["lz4", None, "zstd", None]
    bare.set_disksize(NR_SLOTS * PAGE_SIZE)
    pages = fill(bare)

    with recovered(bare) as other:
        assert other.config.params[0] == Params(level=3, dictionary=dictionary)
        for index, page in pages.items():
            assert other.read(index * PAGE_SIZE, PAGE_SIZE) == page


def test_what_a_cut_set_disksize_mapped_is_given_back(bare: Device) -> None:
    memory_of(bare).map(1 << 30)

    with recovered(bare) as other:
        assert other.state is State.BARE


@pytest.mark.parametrize("is_unmapped", [False, True])
def test_a_cut_reset_is_completed(*, is_unmapped: bool) -> None:
    memory = MemFile()
    device = Device(memory, None, FakeBackings())
    device.set_algorithm(0, "zstd")
    device.set_mem_limit(PAGE_SIZE)
    device.set_disksize(1 << 20)
    write_page(device, 0, "text")
    memory.header.words.state = list(State).index(State.RESETTING)
    if is_unmapped:
        os.ftruncate(memory.fd, HEADER_BYTES)

    with recovered(device) as other:
        assert (other.state, other.disksize, other.mem_limit) == (State.BARE, 0, 0)
        assert other.config.algorithms[0] == "lz4"
        assert set(other.counters.values().values()) == {0}
        other.set_disksize(PAGE_SIZE)
        assert other.mm_stat().mem_used_max == 0
        other.reset()
    os.close(memory.fd)


@pytest.fixture
def ready() -> Iterator[MemFile]:
    """The memory of a device that holds a page."""
    memory = MemFile()
    device = Device(memory)
    device.set_disksize(1 << 20)
    write_page(device, 0, "text")
    yield memory
    os.close(memory.fd)


def test_a_newer_format_is_left_alone(ready: MemFile) -> None:
    before = os.fstat(ready.fd).st_blocks, os.fstat(ready.fd).st_size
    ready.header.words.version = FORMAT_VERSION + 1

    with pytest.raises(UnknownFormat, match="the memory is of format 2"):
        Device(MemFile(ready.fd))

    assert (os.fstat(ready.fd).st_blocks, os.fstat(ready.fd).st_size) == before
    ready.header.words.version = FORMAT_VERSION
    assert Device(MemFile(ready.fd)).read(0, PAGE_SIZE) == make_page("text", 0)


def test_an_algorithm_that_is_gone_changes_nothing(
    ready: MemFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.delitem(codecs._FACTORIES, "lz4")
        with pytest.raises(InvalidValue, match="no algorithm 'lz4' here"):
            Device(MemFile(ready.fd))

    assert Device(MemFile(ready.fd)).read(0, PAGE_SIZE) == make_page("text", 0)
