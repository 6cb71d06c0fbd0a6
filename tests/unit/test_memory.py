"""zramfs.memory: the memfd, mapped, punched and given back."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backed import backed_pages
from zramfs.core.header import HEADER_BYTES
from zramfs.errors import OutOfMemory
from zramfs.memory import MappedArena, MemFile
from zramfs.units import PAGE_SIZE

LENGTH = 64 * PAGE_SIZE
EXBIBYTE = 1 << 60


@pytest.fixture
def memory() -> Iterator[MemFile]:
    memory = MemFile()
    yield memory
    os.close(memory.fd)


@pytest.fixture
def arena(memory: MemFile) -> Iterator[MappedArena]:
    yield memory.map(LENGTH)
    memory.unmap()


def test_new_memory_is_zeros_and_takes_none(
    memory: MemFile, arena: MappedArena
) -> None:
    assert len(arena.view) == LENGTH
    assert list(arena.written(0, LENGTH)) == []
    assert backed_pages(memory) == 0
    assert bytes(arena.view) == bytes(LENGTH)


def test_what_is_written_is_in_the_memfd(memory: MemFile, arena: MappedArena) -> None:
    arena.view[PAGE_SIZE : PAGE_SIZE + 4] = b"page"

    assert os.pread(memory.fd, 4, HEADER_BYTES + PAGE_SIZE) == b"page"
    assert backed_pages(memory) == 1


def test_the_memfd_is_not_inherited_and_named(memory: MemFile) -> None:
    assert not os.get_inheritable(memory.fd)
    assert "zramfs" in str(Path(f"/proc/self/fd/{memory.fd}").readlink())


def test_a_punched_page_reads_as_zeros_and_takes_no_memory(
    memory: MemFile, arena: MappedArena
) -> None:
    arena.view[:] = b"x" * LENGTH

    arena.punch(PAGE_SIZE, 2 * PAGE_SIZE)

    assert backed_pages(memory) == LENGTH // PAGE_SIZE - 2
    assert bytes(arena.view[PAGE_SIZE : 3 * PAGE_SIZE]) == bytes(2 * PAGE_SIZE)
    assert bytes(arena.view[: PAGE_SIZE + 1]) == b"x" * PAGE_SIZE + b"\0"
    assert bytes(arena.view[3 * PAGE_SIZE :]) == b"x" * (LENGTH - 3 * PAGE_SIZE)


def test_the_memfd_keeps_its_size_when_its_end_is_punched(
    memory: MemFile, arena: MappedArena
) -> None:
    arena.punch(LENGTH - PAGE_SIZE, PAGE_SIZE)

    assert os.fstat(memory.fd).st_size == HEADER_BYTES + LENGTH


def test_a_refused_punch_says_why(arena: MappedArena) -> None:
    with pytest.raises(OSError, match="fallocate: Invalid argument"):
        arena.punch(0, -1)


@pytest.mark.parametrize(
    ("bounds", "ranges"),
    [
        ((0, 64), [(1, 3), (60, 61)]),
        ((0, 60), [(1, 3)]),
        ((0, 1), []),
        ((2, 3), [(2, 3)]),
        ((2, 61), [(2, 3), (60, 61)]),
        ((3, 60), []),
        ((61, 64), []),
        ((5, 5), []),
    ],
)
def test_written_yields_what_is_backed_within_the_bounds(
    arena: MappedArena, bounds: tuple[int, int], ranges: list[tuple[int, int]]
) -> None:
    for page in (1, 2, 60):
        arena.view[page * PAGE_SIZE] = 1

    found = arena.written(bounds[0] * PAGE_SIZE, bounds[1] * PAGE_SIZE)

    assert [(start // PAGE_SIZE, stop // PAGE_SIZE) for start, stop in found] == ranges


def test_written_cuts_a_page_at_the_bounds(arena: MappedArena) -> None:
    arena.view[0] = arena.view[9 * PAGE_SIZE] = 1

    assert list(arena.written(16, 24)) == [(16, 24)]
    assert list(arena.written(2 * PAGE_SIZE + 16, 2 * PAGE_SIZE + 24)) == []


def test_written_raises_what_it_does_not_know(memory: MemFile) -> None:
    arena = memory.map(LENGTH)
    number = os.dup(memory.fd)
    arena._fd = number
    os.close(number)

    with pytest.raises(OSError, match="Bad file descriptor"):
        next(arena.written(0, LENGTH))
    memory.unmap()


@pytest.mark.parametrize(
    ("length", "human"),
    [
        (EXBIBYTE, "1.0E"),
        (1 << 63, "8.0E"),
        (1 << 77, "131072.0E"),
        (256 << 40, "256.0T"),
    ],
)
def test_absurd_sizes_are_refused_and_leave_nothing_behind(
    memory: MemFile, length: int, human: str
) -> None:
    message = re.escape(f"cannot map {human} of address space: ")

    with pytest.raises(OutOfMemory, match=message):
        memory.map(length)

    assert os.fstat(memory.fd).st_size == HEADER_BYTES


def test_after_a_refusal_memory_can_be_mapped(memory: MemFile) -> None:
    with pytest.raises(OutOfMemory, match="cannot map"):
        memory.map(EXBIBYTE)

    assert len(memory.map(LENGTH).view) == LENGTH
    memory.unmap()


def test_unmapped_memory_is_given_back(memory: MemFile) -> None:
    memory.map(LENGTH).view[:] = b"x" * LENGTH

    memory.unmap()

    assert os.fstat(memory.fd).st_size == HEADER_BYTES
    assert backed_pages(memory) == 0


def test_memory_mapped_again_is_zeros(memory: MemFile) -> None:
    memory.map(LENGTH).view[:] = b"x" * LENGTH
    memory.unmap()

    assert bytes(memory.map(LENGTH).view) == bytes(LENGTH)
    memory.unmap()


def test_what_is_not_mapped_is_given_back_too(memory: MemFile) -> None:
    os.ftruncate(memory.fd, HEADER_BYTES + LENGTH)

    memory.unmap()

    assert os.fstat(memory.fd).st_size == HEADER_BYTES


def test_a_length_of_nothing_is_refused(memory: MemFile) -> None:
    with pytest.raises(OutOfMemory, match=r"cannot map 0B"):
        memory.map(0)
