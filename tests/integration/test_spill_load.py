"""Readers, writers and writebacks of the same pages at once; requests of any length."""

import errno
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.integration import teardown
from tests.integration.commands import zramfs
from tests.integration.corpus import noise
from tests.integration.files import DISCARD, aligned, fallocate, opened
from tests.integration.mounts import PAGE_SIZE, Mount, MountFactory, assert_quiet
from tests.integration.spills import bd_stat, with_file, write_back_all

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
    pytest.mark.paths("always"),
    pytest.mark.timeout(60),
]

NR_PAGES: Final = 64
"""Few, so that all meet on each."""

NR_WRITERS: Final = 2
NR_READERS: Final = 2
NR_THREADS: Final = NR_WRITERS + NR_READERS + 1
READ_PAGES: Final = 8

GONE: Final = {errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT}
"""What an open file says when nobody serves it any more, and where it was."""


@pytest.fixture
def spill(place: Path) -> Path:
    return place / "spill"


@pytest.mark.every_path
@pytest.mark.paths("always", "off")
def test_parts_of_written_back_pages_are_what_a_model_says(
    mounted: MountFactory, spill: Path
) -> None:
    rng = random.Random(20221124)
    size = NR_PAGES * PAGE_SIZE
    model = bytearray(noise(size))
    wrong = []

    with mounted(*with_file(spill)) as mount, opened(mount.swapfile) as fd:
        os.pwrite(fd, aligned(bytes(model)), 0)
        for number in range(400):
            if not number % 20:
                mount.store("writeback", f"page_indexes=0-{NR_PAGES - 1}")
            offset = rng.randrange(size)
            length = rng.randint(1, min(3 * PAGE_SIZE, size - offset))
            part = slice(offset, offset + length)
            match rng.choice(("read", "write", "discard")):
                case "read":
                    if os.pread(fd, length, offset) != model[part]:
                        wrong.append((number, offset, length))
                case "write":
                    data = noise(length, number)
                    buffer = rng.choice((aligned, bytes))(data)
                    assert os.pwrite(fd, buffer, offset) == length
                    model[part] = data
                case "discard":
                    fallocate(fd, DISCARD, offset, length)
                    model[part] = bytes(length)
        count, nr_read, _ = bd_stat(mount)
        found = os.pread(fd, size, 0)
        failed = mount.io_stat()

    assert wrong == []
    assert found == model
    assert count > 0
    assert nr_read > 400
    assert failed[:3] == (0, 0, 0)


def make_page(index: int, generation: int) -> bytes:
    """Return a page that says which it is; one in four does not compress."""
    words = index.to_bytes(8, "little") + generation.to_bytes(8, "little")
    page = words * (PAGE_SIZE // len(words))
    if not index % 4:
        page = words + noise(PAGE_SIZE - len(words), generation * NR_PAGES + index)
    return page


class Load:
    """Threads that write pages of a new generation each, and read and check them.

    Each page has one writer, so that whoever reads knows the oldest that it may be,
    the last that was written before, and the newest, the last that was begun since.
    """

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        # Beyond all indexes: a page of two equal words would take no memory.
        self._begun = [NR_PAGES] * NR_PAGES
        self._written = [NR_PAGES] * NR_PAGES
        self._stop = threading.Event()
        self.wrong: list[tuple[int, range, bytes]] = []
        """What was read: index, the generations that it may be, and its beginning."""
        self.failures: list[OSError] = []
        """A thread ends with the first that it meets."""

    def fill(self) -> None:
        """Write the first generation."""
        with opened(self._mount.swapfile) as fd:
            for index in range(NR_PAGES):
                self._write(fd, index)

    def _write(self, fd: int, index: int) -> None:
        generation = self._begun[index] + 1
        self._begun[index] = generation
        page = aligned(make_page(index, generation))
        assert os.pwrite(fd, page, index * PAGE_SIZE) == PAGE_SIZE
        self._written[index] = generation

    def check(self, fd: int, first: int, nr_pages: int) -> None:
        """Read some pages at once, and see that each is one that it may be."""
        oldest = self._written[first : first + nr_pages]
        buffer = aligned(bytes(nr_pages * PAGE_SIZE))
        assert os.preadv(fd, [buffer], first * PAGE_SIZE) == len(buffer)
        newest = self._begun[first : first + nr_pages]
        for at, index in enumerate(range(first, first + nr_pages)):
            page = buffer[at * PAGE_SIZE : (at + 1) * PAGE_SIZE]
            generation = int.from_bytes(page[8:16], "little")
            may_be = range(oldest[at], newest[at] + 1)
            if generation not in may_be or page != make_page(index, generation):
                self.wrong.append((index, may_be, page[:16]))

    def _keep_writing(self, number: int) -> None:
        rng = random.Random(number)
        own = range(number, NR_PAGES, NR_WRITERS)
        with opened(self._mount.swapfile) as fd:
            while not self._stop.is_set():
                self._write(fd, rng.choice(own))

    def _keep_reading(self, number: int) -> None:
        rng = random.Random(number)
        with opened(self._mount.swapfile, os.O_RDONLY) as fd:
            while not self._stop.is_set():
                nr_pages = rng.choice((1, READ_PAGES))
                self.check(fd, rng.randrange(NR_PAGES - nr_pages + 1), nr_pages)

    def _keep_writing_back(self, _: int) -> None:
        while not self._stop.is_set():
            write_back_all(self._mount)

    def _run(self, keep: Callable[[int], None], number: int) -> None:
        try:
            keep(number)
        except OSError as error:
            self.failures.append(error)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Do all that meanwhile."""
        work = [
            *((self._keep_writing, number) for number in range(NR_WRITERS)),
            *((self._keep_reading, number) for number in range(NR_READERS)),
            (self._keep_writing_back, 0),
        ]
        threads = [threading.Thread(target=self._run, args=each) for each in work]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(20)
        assert not any(thread.is_alive() for thread in threads)


def test_pages_are_right_while_they_are_written_and_written_back(
    mounted: MountFactory, spill: Path
) -> None:
    with mounted(*with_file(spill)) as mount:
        load = Load(mount)
        load.fill()
        with load.running():
            time.sleep(2)
        _, nr_read, nr_written = bd_stat(mount)
        with opened(mount.swapfile, os.O_RDONLY) as fd:
            load.check(fd, 0, NR_PAGES)
        failed = mount.io_stat()

    assert load.wrong == []
    assert load.failures == []
    assert min(nr_read, nr_written) > NR_PAGES
    assert failed == (0, 0, 0, 0)


def test_an_end_under_load_leaves_a_file_that_can_be_used_again(
    place: Path, spill: Path
) -> None:
    path, log = place / "mnt", place / "log"
    path.mkdir()
    zramfs("mount", path, "--log-file", log, *with_file(spill))
    mount = Mount(path=path, log=log)
    supervisor = mount.supervisor
    load = Load(mount)
    load.fill()
    with load.running():
        assert teardown.wait_until(lambda: bd_stat(mount)[2] > NR_PAGES)
        os.kill(supervisor, signal.SIGTERM)
        has_ended = teardown.wait_for_end(supervisor)
        have_noticed = teardown.wait_until(lambda: len(load.failures) == NR_THREADS)
    left = teardown.leftovers(path)
    zramfs("mount", path, *with_file(spill))
    again = Load(mount)
    again.fill()
    write_back_all(mount)
    count, _, _ = bd_stat(mount)
    with opened(mount.swapfile, os.O_RDONLY) as fd:
        again.check(fd, 0, NR_PAGES)
    zramfs("umount", path)

    assert has_ended
    assert have_noticed
    assert left == []
    assert {each.errno for each in load.failures} <= GONE
    assert load.wrong == again.wrong == []
    assert count == NR_PAGES
    assert_quiet(log)
