"""A program that takes more memory than its cgroup has, and times getting it back.

    python -m benchmarks.hog BYTES CGROUP_PROCS TOUCH_SECONDS

Joins the cgroup, fills BYTES of anonymous memory, verifies every page in order,
touches pages at random for TOUCH_SECONDS, and prints what it found as JSON.
"""

import json
import mmap
import random
import sys
import time
from pathlib import Path
from typing import Final, TypedDict

from tests.integration.hog import NOISE_BYTES, PAGE_SIZE, count_wrong, fill

_BATCH: Final = 64
"""Touches between two looks at the clock."""

_INDEX: Final = slice(NOISE_BYTES, NOISE_BYTES + 8)
"""Where a page has its own index."""


class Course(TypedDict):
    """How the hog fared."""

    fill_s: float
    verify_s: float
    touches_per_s: float
    wrong: int


def _touch(memory: mmap.mmap, seconds: float) -> tuple[float, int]:
    """Look at random pages; return how many per second, and how many were wrong."""
    nr_pages = len(memory) // PAGE_SIZE
    choose = random.Random(1).randrange  # noqa: S311  # the same pages in every run
    touched = wrong = 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        for index in [choose(nr_pages) for _ in range(_BATCH)]:
            offset = index * PAGE_SIZE
            found = memory[offset + _INDEX.start : offset + _INDEX.stop]
            wrong += int.from_bytes(found, "little") != index
        touched += _BATCH
    return touched / elapsed, wrong


def main() -> None:
    """Fill, verify, touch, report."""
    length, procs = int(sys.argv[1]), Path(sys.argv[2])
    procs.write_text("0")  # 0 is whoever writes it
    # Private: shared memory would be charged and swapped as a file.
    memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = time.perf_counter()
    fill(memory)
    filled = time.perf_counter()
    wrong = count_wrong(memory)
    verified = time.perf_counter()
    touches_per_s, mistaken = _touch(memory, float(sys.argv[3]))
    course: Course = {
        "fill_s": filled - start,
        "verify_s": verified - filled,
        "touches_per_s": touches_per_s,
        "wrong": wrong + mistaken,
    }
    sys.stdout.write(json.dumps(course) + "\n")


if __name__ == "__main__":
    main()
