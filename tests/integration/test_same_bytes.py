"""The same requests to zramfs and to the kernel's own zram: the same counters."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import Report
from tests.integration.corpus import noise, system_files
from tests.integration.files import DISCARD, aligned, fallocate, opened
from tests.integration.kernel_zram import kernel_zram
from tests.integration.mounts import MIB, PAGE_SIZE, MountFactory
from tests.integration.stats import IoStat, MmStat

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
    pytest.mark.requires("kernel-zram"),
]

CORPUS_BYTES: Final = 64 * MIB
PIECE: Final = 256 * 1024
MOST_APART: Final = 0.005
"""By how much compr_data_size may differ: the kernel has an LZ4 of its own."""


@dataclass(frozen=True, slots=True)
class Request:
    """A write, or without data a discard."""

    offset: int
    length: int
    data: bytes = b""


def requests() -> Iterator[Request]:
    """Yield what a day of use may be: files, holes, patterns, noise, all mixed."""
    files = system_files(CORPUS_BYTES)
    for offset in range(0, CORPUS_BYTES, PIECE):
        yield Request(offset, PIECE, files[offset : offset + PIECE])
    chance = random.Random(0)
    pages = CORPUS_BYTES // PAGE_SIZE
    for seed in range(2000):
        page, count = chance.randrange(pages - 16), chance.randrange(1, 17)
        offset, length = page * PAGE_SIZE, count * PAGE_SIZE
        kind = chance.randrange(5)
        if kind == 0:
            yield Request(offset, length)
        elif kind == 1:
            yield Request(offset, length, bytes(length))
        elif kind == 2:
            yield Request(offset, length, chance.randbytes(8) * (length // 8))
        elif kind == 3:
            yield Request(offset, length, noise(length, seed))
        else:
            start = chance.randrange(pages - 16) * PAGE_SIZE
            yield Request(offset, length, files[start : start + length])


def carry_out(path: Path, flags: int) -> None:
    with opened(path, os.O_RDWR | flags) as fd:
        for each in requests():
            if each.data:
                assert os.pwrite(fd, aligned(each.data), each.offset) == each.length
            else:
                fallocate(fd, DISCARD, each.offset, each.length)


def test_the_same_bytes_give_the_same_counters(
    mounted: MountFactory, report: Report
) -> None:
    with mounted("--disksize", "64M") as mount:
        carry_out(mount.swapfile, 0)
        ours, our_io = mount.mm_stat(), mount.io_stat()
    with kernel_zram("64M") as zram:
        carry_out(zram.device, os.O_DIRECT)
        theirs = zram.mm_stat()
        their_io = IoStat.parse((zram.attributes / "io_stat").read_text())

    def counters(mm: MmStat, io: IoStat) -> tuple[int, ...]:
        return mm.orig_data_size, mm.same_pages, mm.huge_pages, *io

    apart = ours.compr_data_size / theirs.compr_data_size - 1
    report(f"same bytes: compr_data_size {apart:+.3%} of the kernel's")
    assert counters(ours, our_io) == counters(theirs, their_io)
    # A page in thousands lies right at the threshold for one LZ4 and not the other.
    assert ours.huge_pages_since == pytest.approx(theirs.huge_pages_since, rel=0.001)
    assert their_io.notify_free > 0 < theirs.same_pages
    assert abs(apart) <= MOST_APART
