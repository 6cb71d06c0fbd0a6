"""A program that takes more memory than its cgroup has, and checks every page of it.

    python hog.py BYTES CGROUP_PROCS

Joins the cgroup, fills BYTES of anonymous memory, prints how long that took, waits
for a line on stdin, verifies all pages, and prints how long that took and how many
were wrong. A page depends on nothing but its index and compresses about 2.5 to 1:
a piece of a noise pool that no other page has, its index, and a run of zeros.
"""

import hashlib
import json
import mmap
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PAGE_SIZE: Final = 4096
NOISE_BYTES: Final = 1600

_POOL: Final = hashlib.shake_128(b"hog").digest(1 << 20)
_STRIDE: Final = 7919  # a prime: the piece of page i starts at i * 7919 in the pool
_REST: Final = bytes(PAGE_SIZE - NOISE_BYTES - 8)


def page(index: int) -> bytes:
    """Return what belongs into page *index*."""
    start = index * _STRIDE % (len(_POOL) - NOISE_BYTES)
    return _POOL[start : start + NOISE_BYTES] + index.to_bytes(8, "little") + _REST


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


def _say(**figures: float) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Fill, wait for a line, verify."""
    length, procs = int(sys.argv[1]), Path(sys.argv[2])
    procs.write_text("0")  # 0 is whoever writes it
    # Private: shared memory would be charged and swapped as a file.
    memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = time.perf_counter()
    fill(memory)
    _say(fill_s=time.perf_counter() - start)
    sys.stdin.readline()
    start = time.perf_counter()
    wrong = count_wrong(memory)
    _say(verify_s=time.perf_counter() - start, wrong=wrong)


if __name__ == "__main__":
    main()
