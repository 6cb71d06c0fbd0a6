"""The swapfile behaves as a block device does, at its ends and in between."""

import errno
import os
import stat

import pytest

from tests.integration.corpus import noise, text
from tests.integration.files import aligned, opened
from tests.integration.mounts import MIB, PAGE_SIZE, MountFactory, refuses

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
]


def test_only_its_owner_may_open_it(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount:
        info = mount.swapfile.stat()

    assert info.st_mode == stat.S_IFREG | 0o600
    assert (info.st_uid, info.st_size) == (os.getuid(), 64 * MIB)


def test_a_page_never_written_reads_as_zeros(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount, opened(mount.swapfile) as fd:
        data = os.pread(fd, MIB, 7 * MIB)
        stored = mount.mm_stat().orig_data_size

    assert (data, stored) == (bytes(MIB), 0)


def test_reads_are_short_at_the_end(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        os.pwrite(fd, text(PAGE_SIZE), MIB - PAGE_SIZE)
        across = os.pread(fd, 2 * PAGE_SIZE, MIB - PAGE_SIZE)
        last = os.pread(fd, PAGE_SIZE, MIB - 1)
        at_end = os.pread(fd, PAGE_SIZE, MIB)
        beyond = os.pread(fd, PAGE_SIZE, 5 * MIB)

    assert across == text(PAGE_SIZE)
    assert (last, at_end, beyond) == (text(PAGE_SIZE)[-1:], b"", b"")


@pytest.mark.parametrize("offset", [MIB, MIB + 1, 5 * MIB])
def test_writes_from_the_end_on_are_refused(mounted: MountFactory, offset: int) -> None:
    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        with refuses(errno.ENOSPC):
            os.pwrite(fd, b"x", offset)
        size = os.fstat(fd).st_size

    assert size == MIB


def test_writes_across_the_end_are_short(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        written = os.pwrite(fd, noise(3 * PAGE_SIZE), MIB - PAGE_SIZE - 100)
        back = os.pread(fd, 3 * PAGE_SIZE, MIB - PAGE_SIZE - 100)

    assert written == PAGE_SIZE + 100
    assert back == noise(3 * PAGE_SIZE)[:written]


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        pytest.param(1, 1, id="one-byte"),
        pytest.param(PAGE_SIZE - 1, 2, id="two-halves"),
        pytest.param(100, 2 * PAGE_SIZE, id="tail-page-head"),
        pytest.param(PAGE_SIZE, 2 * PAGE_SIZE + 7, id="pages-and-a-head"),
        pytest.param(3 * PAGE_SIZE + 5, 300_001, id="many"),
    ],
)
def test_unaligned_writes_keep_what_is_around(
    mounted: MountFactory, offset: int, length: int
) -> None:
    expected = bytearray(noise(MIB, seed=1))

    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        os.pwrite(fd, expected, 0)
        os.pwrite(fd, noise(length, seed=2), offset)
        back = os.pread(fd, MIB, 0)

    expected[offset : offset + length] = noise(length, seed=2)
    assert back == expected


def test_truncating_it_changes_nothing(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount:
        with opened(mount.swapfile) as fd:
            os.pwrite(fd, text(PAGE_SIZE), 0)
            os.ftruncate(fd, 0)
        with opened(mount.swapfile, os.O_RDWR | os.O_TRUNC) as fd:
            size = os.fstat(fd).st_size
            back = os.pread(fd, PAGE_SIZE, 0)

    assert (size, back) == (MIB, text(PAGE_SIZE))


def test_fsync_succeeds(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount, opened(mount.swapfile) as fd:
        os.pwrite(fd, text(PAGE_SIZE), 0)
        os.fsync(fd)


def test_an_open_file_sees_a_new_disksize_at_once(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount:
        mount.store("reset", "1")
        with opened(mount.swapfile) as fd:
            before = os.fstat(fd).st_size
            mount.store("disksize", "2M")
            after = os.fstat(fd).st_size
            end = os.lseek(fd, 0, os.SEEK_END)
            written = os.pwrite(fd, text(PAGE_SIZE), MIB)

    assert (before, after, end, written) == (0, 2 * MIB, 2 * MIB, PAGE_SIZE)


def test_without_a_disksize_there_is_nothing(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount:
        mount.store("reset", "1")
        with opened(mount.swapfile) as fd:
            data = os.pread(fd, PAGE_SIZE, 0)
            with refuses(errno.ENOSPC):
                os.pwrite(fd, b"x", 0)

    assert data == b""


def test_reset_waits_for_no_opener_and_needs_none(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount:
        with opened(mount.swapfile) as fd:
            os.pwrite(fd, text(PAGE_SIZE), 0)
            with refuses(errno.EBUSY):
                mount.store("reset", "1")
            kept = os.pread(fd, PAGE_SIZE, 0)
        mount.store("reset", "1")
        stat_after = mount.mm_stat()

    assert kept == text(PAGE_SIZE)
    assert set(stat_after) == {0}


def test_reset_works_right_after_close(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as mount:
        for _ in range(200):
            with opened(mount.swapfile) as fd:
                os.pwrite(fd, text(PAGE_SIZE), 0)
            mount.store("reset", "1")
            mount.store("disksize", "1M")


def test_two_openers_see_each_other(mounted: MountFactory) -> None:
    with (
        mounted("--disksize", "1M") as mount,
        opened(mount.swapfile) as writer,
        opened(mount.swapfile) as reader,
    ):
        os.pwrite(writer, text(PAGE_SIZE), 0)
        back = os.pread(reader, PAGE_SIZE, 0)

    assert back == text(PAGE_SIZE)


def test_same_filled_pages_take_no_memory(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount, opened(mount.swapfile) as fd:
        os.pwrite(fd, b"swapswap" * (MIB // 8), 0)
        back = os.pread(fd, MIB, 0)
        memory = mount.mm_stat()

    assert back == b"swapswap" * (MIB // 8)
    assert (memory.orig_data_size, memory.same_pages) == (MIB, 256)
    assert (memory.compr_data_size, memory.mem_used_total) == (0, 0)


def test_pages_that_do_not_compress_are_huge(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount, opened(mount.swapfile) as fd:
        # Else the page between two requests would be stored twice.
        os.pwrite(fd, aligned(noise(MIB)), 0)
        back = os.pread(fd, MIB, 0)
        memory = mount.mm_stat()

    assert back == noise(MIB)
    assert (memory.huge_pages, memory.huge_pages_since) == (256, 256)
    assert memory.compr_data_size == MIB


@pytest.mark.parametrize("algorithm", ["lz4", "lz4hc", "zstd", "deflate"])
def test_every_algorithm_gives_back_what_was_stored(
    mounted: MountFactory, algorithm: str
) -> None:
    data = text(MIB // 2) + noise(MIB // 4) + text(MIB // 4)

    with mounted("--disksize", "1M", "--comp-algorithm", algorithm) as mount:
        with opened(mount.swapfile) as fd:
            os.pwrite(fd, data, 0)
            back = os.pread(fd, MIB, 0)
        shown = mount.show("comp_algorithm")

    assert back == data
    assert f"[{algorithm}] " in shown
