"""A program that takes more memory than its cgroup has, and times getting it back.

    python hog.py BYTES CGROUP_PROCS TOUCH_SECONDS

Joins the cgroup, fills BYTES of anonymous memory and prints how long that took, as
a line of JSON. When a line, or the end, has come on stdin it verifies every page in
order, touches pages at random for TOUCH_SECONDS, and prints all that it found.

A page depends on nothing but its index. It is 16-byte pieces of 4 random bytes and
12 zeros, which cost a codec about what pages of a heap do, and lz4 makes it 2.4
times smaller; random bytes and then zeros would cost a quarter.
"""

import json
import mmap
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypedDict

PAGE_SIZE: Final = 4096

_PIECE: Final = 16
_ZEROS: Final = bytes(12)
_INDEX_BYTES: Final = 8
_DATA_BYTES: Final = PAGE_SIZE - _INDEX_BYTES

_NR_PIECES: Final = 1 << 16
_STRIDE: Final = 7919  # a prime: page i begins with piece i * 7919 of the pool
_NR_STARTS: Final = _NR_PIECES - PAGE_SIZE // _PIECE

_BATCH: Final = 64
"""Touches between two looks at the clock."""


class Filled(TypedDict):
    """The first line."""

    fill_s: float


class Course(Filled):
    """The last line: how the hog fared."""

    verify_s: float
    touches_per_s: float
    wrong: int
    """Pages that were not what had been written."""


def _make_pool() -> bytes:
    numbers = random.Random(1)  # the same pages in every run
    return b"".join(numbers.randbytes(4) + _ZEROS for _ in range(_NR_PIECES))


_POOL: Final = _make_pool()


def page(index: int) -> bytes:
    """Return what belongs into page *index*, which it ends with."""
    start = index * _STRIDE % _NR_STARTS * _PIECE
    data = _POOL[start : start + _DATA_BYTES]
    return data + index.to_bytes(_INDEX_BYTES, "little")


def _offsets(length: int) -> Iterator[tuple[int, int]]:
    return enumerate(range(0, length, PAGE_SIZE))


def fill(memory: mmap.mmap) -> None:
    """Write every page."""
    for index, offset in _offsets(len(memory)):
        memory[offset : offset + PAGE_SIZE] = page(index)


def count_wrong(memory: mmap.mmap) -> int:
    """Return how many pages are not what was written."""
    return sum(
        memory[offset : offset + PAGE_SIZE] != page(index)
        for index, offset in _offsets(len(memory))
    )


def touch(memory: mmap.mmap, seconds: float) -> tuple[float, int]:
    """Look at random pages; return how many per second, and how many were wrong."""
    nr_pages = len(memory) // PAGE_SIZE
    choose = random.Random(1).randrange  # the same pages in every run
    touched = wrong = 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        for index in [choose(nr_pages) for _ in range(_BATCH)]:
            end = (index + 1) * PAGE_SIZE
            found = memory[end - _INDEX_BYTES : end]
            wrong += int.from_bytes(found, "little") != index
        touched += _BATCH
    return (touched / elapsed if touched else 0.0), wrong


def _say(figures: Filled | Course) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Fill, wait for a line, verify, touch."""
    length, procs, touch_s = int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    procs.write_text("0")  # 0 is whoever writes it
    # Private: shared memory would be charged and swapped as a file.
    memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = time.perf_counter()
    fill(memory)
    filled: Filled = {"fill_s": time.perf_counter() - start}
    _say(filled)
    sys.stdin.readline()
    start = time.perf_counter()
    wrong = count_wrong(memory)
    verify_s = time.perf_counter() - start
    touches_per_s, mistaken = touch(memory, touch_s)
    course: Course = {
        **filled,
        "verify_s": verify_s,
        "touches_per_s": touches_per_s,
        "wrong": wrong + mistaken,
    }
    _say(course)


if __name__ == "__main__":
    main()
