"""Where data is and where holes are, and copying that goes by it.

A hole is whatever reads as zeros and takes no memory. Without a lane the whole
file is data, which is always true.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.integration.commands import run
from tests.integration.corpus import noise
from tests.integration.files import DISCARD, aligned, fallocate, opened, seek
from tests.integration.mounts import LANE_PATHS, MIB, PAGE_SIZE, Mount, MountFactory
from tests.pages import make_page

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
    pytest.mark.paths(*LANE_PATHS),
]

NR_PAGES: Final = 64
END: Final = NR_PAGES * PAGE_SIZE

KINDS: Final = ("never", "zero", "discarded", "same:7", "text", "half", "rand")
HOLES: Final = frozenset(KINDS[:3])

Found = list[tuple[int | None, int | None]]
"""For each offset the next data and the next hole."""


def _offsets() -> Iterator[int]:
    """Yield each page's first byte, its last, and one between; and behind the end."""
    for page in range(0, END, PAGE_SIZE):
        yield from (page, page + 1 + page % 4093, page + PAGE_SIZE - 1)
    yield from (END, END + 1, 2 * END, 1 << 62)


def _lay_out(fd: int, layout: list[str]) -> None:
    for index, kind in enumerate(layout):
        if kind == "discarded":
            os.pwrite(fd, make_page("rand"), index * PAGE_SIZE)
            fallocate(fd, DISCARD, index * PAGE_SIZE, PAGE_SIZE)
        elif kind != "never":
            os.pwrite(fd, make_page(kind, index), index * PAGE_SIZE)


def _expected(layout: list[str]) -> Found:
    data = [kind not in HOLES for kind in layout]

    def first(offset: int, *, is_data: bool) -> int | None:
        if offset >= END:
            return None
        index = offset // PAGE_SIZE
        while index < NR_PAGES and data[index] is not is_data:
            index += 1
        if index == NR_PAGES and is_data:
            return None
        return max(offset, index * PAGE_SIZE)

    return [
        (first(offset, is_data=True), first(offset, is_data=False))
        for offset in _offsets()
    ]


@pytest.mark.parametrize("seed", range(4))
def test_seeking_agrees_with_a_model(mounted: MountFactory, seed: int) -> None:
    numbers = random.Random(seed)
    layouts = [numbers.choices(KINDS, k=NR_PAGES) for _ in range(8)]
    # Long runs, too: next to each other, and at both ends.
    layouts += [sorted(layout) for layout in layouts]
    found = []

    with mounted("--disksize", str(END)) as mount:
        for layout in layouts:
            with opened(mount.swapfile) as fd:
                _lay_out(fd, layout)
                found.append(
                    [
                        (seek(fd, offset, os.SEEK_DATA), seek(fd, offset, os.SEEK_HOLE))
                        for offset in _offsets()
                    ]
                )
            mount.store("reset", "1")
            mount.store("disksize", str(END))

    assert found == [_expected(layout) for layout in layouts]


def test_seeking_crosses_the_whole_of_a_large_device(mounted: MountFactory) -> None:
    """Millions of slots are looked at in steps, which must not be seen."""
    end = 16 << 30
    places = [0, (4 << 30) - PAGE_SIZE, 4 << 30, 7 << 30, end - PAGE_SIZE]
    found = []

    with mounted("--disksize", str(end)) as mount, opened(mount.swapfile) as fd:
        for place in places:
            os.pwrite(fd, make_page("text"), place)
        offset = seek(fd, 0, os.SEEK_DATA)
        while offset is not None:
            hole = os.lseek(fd, offset, os.SEEK_HOLE)
            found.append((offset, hole))
            offset = seek(fd, hole, os.SEEK_DATA)

    runs = [(0, 1), ((4 << 30) - PAGE_SIZE, 2), (7 << 30, 1), (end - PAGE_SIZE, 1)]
    assert found == [(place, place + pages * PAGE_SIZE) for place, pages in runs]


def test_seeking_elsewhere_is_as_in_any_file(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        found = [
            os.lseek(fd, 100, os.SEEK_SET),
            os.lseek(fd, 50, os.SEEK_CUR),
            os.lseek(fd, 0, os.SEEK_END),
            os.lseek(fd, -1, os.SEEK_END),
        ]
        bare = seek(fd, 0, os.SEEK_DATA)

    assert found == [100, 150, MIB, MIB - 1]
    assert bare is None


def test_without_a_disksize_there_is_neither(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount:
        mount.store("reset", "1")
        with opened(mount.swapfile) as fd:
            found = seek(fd, 0, os.SEEK_DATA), seek(fd, 0, os.SEEK_HOLE)

    assert found == (None, None)


def test_reading_a_control_file_sparsely_leaves_holes_findable(
    mounted: MountFactory, place: Path
) -> None:
    """The kernel asks a mount that once answered ENOSYS no more, for no file."""
    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        with opened(mount.attribute("mm_stat"), os.O_RDONLY) as control:
            found = [
                (
                    seek(control, offset, os.SEEK_DATA),
                    seek(control, offset, os.SEEK_HOLE),
                )
                for offset in (0, 5, PAGE_SIZE - 1, PAGE_SIZE)
            ]
        run("grep", "--count", "0", mount.attribute("mm_stat"))
        run("cp", mount.attribute("mm_stat"), place / "copy")
        data = seek(fd, 0, os.SEEK_DATA)
        copy = (place / "copy").read_text()
        shown = mount.show("mm_stat")

    # As in sysfs.
    assert found == [(0, 4096), (5, 4096), (4095, 4096), (None, None)]
    assert data is None
    assert copy == shown


@pytest.mark.paths("pyfuse3")
def test_without_a_lane_all_is_data(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        found = [
            (seek(fd, offset, os.SEEK_DATA), seek(fd, offset, os.SEEK_HOLE))
            for offset in (0, 1, MIB - 1, MIB)
        ]

    assert found == [(0, MIB), (1, MIB), (MIB - 1, MIB), (None, None)]


def _sparse_file(path: Path) -> bytes:
    """Make a file of 8 MiB, 2 of them data, and return what it reads as."""
    data = bytearray(8 * MIB)
    for offset in (0, 3 * MIB + PAGE_SIZE):
        data[offset : offset + MIB] = noise(MIB, seed=offset)
    with path.open("wb") as file:
        file.truncate(len(data))
        for offset in (0, 3 * MIB + PAGE_SIZE):
            file.seek(offset)
            file.write(data[offset : offset + MIB])
    return bytes(data)


def _read(mount: Mount) -> bytes:
    with opened(mount.swapfile) as fd:
        return b"".join(os.pread(fd, MIB, offset) for offset in range(0, 8 * MIB, MIB))


@pytest.mark.parametrize("sparse", ["always", "auto"])
def test_a_sparse_copy_of_it_has_its_holes(
    mounted: MountFactory, place: Path, sparse: str
) -> None:
    data = _sparse_file(place / "data")
    copy = place / "copy"

    with mounted("--disksize", "8M") as mount:
        with opened(mount.swapfile) as fd:
            os.pwrite(fd, aligned(data), 0)
        before = mount.rw_page_stat()
        run("cp", f"--sparse={sparse}", mount.swapfile, copy)
        after = mount.rw_page_stat()

    nr_reads = sum(after[name] - before[name] for name in ("lane_reads", "bio_reads"))
    assert copy.read_bytes() == data
    assert copy.stat().st_blocks * 512 <= 2 * MIB + 64 * PAGE_SIZE
    assert nr_reads <= 2 * MIB // (128 << 10) + 4


def test_a_sparse_copy_onto_it_frees_what_is_a_hole(
    mounted: MountFactory, place: Path
) -> None:
    data = _sparse_file(place / "data")

    with mounted("--disksize", "8M") as mount:
        with opened(mount.swapfile) as fd:
            os.pwrite(fd, aligned(noise(8 * MIB)), 0)
        run("cp", "--sparse=always", place / "data", mount.swapfile)
        back = _read(mount)
        stored = mount.mm_stat().orig_data_size

    assert back == data
    assert stored == 2 * MIB


@pytest.mark.paths("pyfuse3")
def test_without_a_lane_sparse_copies_are_right_on_a_new_device(
    mounted: MountFactory, place: Path
) -> None:
    data = _sparse_file(place / "data")
    copy = place / "copy"

    with mounted("--disksize", "8M") as mount:
        run("cp", "--sparse=always", place / "data", mount.swapfile)
        back = _read(mount)
        stored = mount.mm_stat().orig_data_size
        run("cp", "--sparse=always", mount.swapfile, copy)

    assert back == data
    assert stored == 2 * MIB
    assert copy.read_bytes() == data
    assert copy.stat().st_blocks * 512 <= 2 * MIB + 64 * PAGE_SIZE
