"""zramfs.core.header: words that outlive their process, and a config in two copies."""

import os

import pytest

from zramfs.core.header import (
    FORMAT_VERSION,
    HEADER_BYTES,
    Header,
    HeaderWords,
    Words,
    words,
)
from zramfs.core.stats import Counters
from zramfs.errors import OutOfMemory, UnknownFormat
from zramfs.memory import MemFile
from zramfs.mount.paths import PathStat
from zramfs.units import PAGE_SIZE


@words
class Pair(Words):
    first: int
    second: int


@pytest.fixture
def view() -> memoryview:
    return memoryview(bytearray(64 << 10))


def test_words_are_64_bits_each_in_their_order() -> None:
    memory = bytearray(16)
    pair = Pair.from_buffer(memory)

    pair.first = 1
    pair.second = (1 << 64) - 1

    assert memory == b"\1" + bytes(7) + b"\xff" * 8
    assert pair.values() == {"first": 1, "second": (1 << 64) - 1}


def test_cleared_words_are_0() -> None:
    pair = Pair(1, 2)

    pair.clear()

    assert (pair.first, pair.second) == (0, 0)


def test_a_new_header_says_what_it_is(view: memoryview) -> None:
    Header(view)

    assert bytes(view[:16]) == b"zramfs\0\0" + FORMAT_VERSION.to_bytes(8, "little")


def test_a_header_without_memory_has_its_own() -> None:
    first, second = Header(), Header()

    first.words.openers = 1
    first.config = b"text"

    assert (second.words.openers, second.config) == (0, b"")


def test_foreign_memory_is_refused(view: memoryview) -> None:
    view[:8] = b"database"

    with pytest.raises(UnknownFormat, match="not the memory of a zramfs device"):
        Header(view)

    assert bytes(view[:16]) == b"database" + bytes(8)


def test_a_newer_format_is_refused(view: memoryview) -> None:
    Header(view).words.version = FORMAT_VERSION + 1

    with pytest.raises(UnknownFormat, match=r"memory is of format 2, .* for format 1"):
        Header(view)


def test_memory_that_is_too_short_is_refused() -> None:
    fd = os.memfd_create("short")
    os.ftruncate(fd, HEADER_BYTES - 1)

    with pytest.raises(UnknownFormat, match="too short for the memory"):
        MemFile(fd)
    os.close(fd)


def test_the_areas_do_not_meet(view: memoryview) -> None:
    header = Header(view)
    areas = [header.counters, header.paths, header.keys, header.init]
    for number, area in enumerate(areas, 1):
        area[:] = bytes([number]) * len(area)
    header.openers[len(header.openers) - 1] = 5
    header.config = b"first" * 1000
    header.config = b"second" * 1000

    for number, area in enumerate(areas, 1):
        assert set(area) == {number}
    assert header.config == b"second" * 1000
    assert header.words.version == FORMAT_VERSION


@pytest.mark.parametrize("kind", [HeaderWords, Counters, PathStat])
def test_areas_leave_room_for_more_words(kind: type[Words]) -> None:
    assert len(kind().values()) <= 96  # of 128


def test_all_is_found_again_by_who_takes_the_memory_over() -> None:
    memory = MemFile()
    memory.header.words.openers = 3
    memory.header.config = b"text"
    Counters.from_buffer(memory.header.counters).reads = 7

    other = MemFile(os.dup(memory.fd)).header

    assert (other.words.openers, other.config) == (3, b"text")
    assert Counters.from_buffer(other.counters).reads == 7


def test_a_header_takes_a_page_of_memory_or_two() -> None:
    memory = MemFile()
    memory.header.config = b"text"
    memory.header.config = b"text"

    assert os.fstat(memory.fd).st_blocks * 512 <= 3 * PAGE_SIZE


def test_a_config_replaces_the_one_before(view: memoryview) -> None:
    header = Header(view)
    for text in (b"long" * 100, b"", b"short", b"again"):
        header.config = text

        assert header.config == text


def test_until_one_word_is_stored_the_old_config_holds(view: memoryview) -> None:
    header = Header(view)
    header.config = b"old"
    before = header.words.config
    header.config = b"newer"
    after = header.words.config

    header.words.config = before
    assert header.config == b"old"
    header.words.config = after
    assert header.config == b"newer"


def test_a_config_that_is_too_long_is_refused(view: memoryview) -> None:
    header = Header(view)
    header.config = b"old"

    with pytest.raises(OutOfMemory, match=r"configuration of 65536 bytes is too long"):
        header.config = bytes(64 << 10)

    assert header.config == b"old"
