"""kill -9 of the worker, and the end of a mount, with pages on a backing device."""

import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.crash.killing import RESTARTED
from tests.integration import teardown
from tests.integration.commands import ZRAMFS, attempt, run, zramfs
from tests.integration.corpus import noise, system_files
from tests.integration.files import aligned, opened
from tests.integration.mounts import (
    MIB,
    PAGE_SIZE,
    Mount,
    MountFactory,
    assert_quiet,
)

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
    pytest.mark.timeout(60),
]

NR_PAGES: Final = 512


@pytest.fixture
def spill(place: Path) -> Path:
    return place / "spill"


@pytest.fixture
def pages() -> bytes:
    return system_files(MIB) + noise(MIB)


def with_file(spill: Path, *options: str) -> tuple[str, ...]:
    return (
        *("--disksize", "64M", "--backing-dev", str(spill)),
        *("--backing-size", "16M", *options),
    )


def store_pages(mount: Mount, data: bytes, first: int = 0) -> None:
    with opened(mount.swapfile) as fd:
        assert os.pwrite(fd, aligned(data), first * PAGE_SIZE) == len(data)


def write_back_all(mount: Mount) -> None:
    mount.store("idle", "all")
    mount.store("writeback", "idle")


def spilled(mount: Mount, data: bytes) -> None:
    store_pages(mount, data)
    write_back_all(mount)


def read(mount: Mount, first: int, nr_pages: int = 1) -> bytes:
    with opened(mount.swapfile, os.O_RDONLY) as fd:
        return os.pread(fd, nr_pages * PAGE_SIZE, first * PAGE_SIZE)


def kill_worker(mount: Mount) -> None:
    worker = mount.pid
    os.kill(worker, signal.SIGKILL)
    assert teardown.wait_for_end(worker)


def lost_pages(mount: Mount) -> list[int]:
    """Return the pages that are input/output errors."""
    lost = []
    for index in range(NR_PAGES):
        try:
            read(mount, index)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            lost.append(index)
    return lost


@pytest.mark.parametrize(
    "options",
    [(), ("--encrypt", "chacha20poly1305"), ("--encrypt", "aes-gcm")],
    ids=["checksum", "chacha20poly1305", "aes-gcm"],
)
def test_written_back_pages_outlive_the_worker(
    mounted: MountFactory,
    spill: Path,
    pages: bytes,
    announced: list[str],
    options: tuple[str, ...],
) -> None:
    announced.append(RESTARTED)
    with mounted(*with_file(spill, *options)) as mount:
        spilled(mount, pages)
        first_disk = spill.read_bytes()
        before = mount.show("bd_stat")
        kill_worker(mount)
        after = mount.show("bd_stat")
        found = read(mount, 0, NR_PAGES)
        # The same pages into the same blocks: with a nonce that was used before, and
        # the same key, they would be the same bytes.
        store_pages(mount, bytes(len(pages)))
        spilled(mount, pages)
        again = spill.read_bytes()
        found_again = read(mount, 0, NR_PAGES)

    nr_same = sum(
        first_disk[start : start + PAGE_SIZE] == again[start : start + PAGE_SIZE]
        for start in range(0, int(before.split()[0]) * PAGE_SIZE, PAGE_SIZE)
    )
    assert after == before
    assert found == found_again == pages
    assert nr_same == (0 if options else int(before.split()[0]))


def _replace(spill: Path) -> None:
    other = spill.with_name("other")
    other.write_bytes(os.urandom(16 * MIB))
    other.rename(spill)


@pytest.mark.parametrize("change", [_replace, Path.unlink], ids=["replaced", "removed"])
def test_what_becomes_of_the_path_is_no_matter(
    mounted: MountFactory,
    spill: Path,
    pages: bytes,
    announced: list[str],
    change: Callable[[Path], None],
) -> None:
    announced.append(RESTARTED)
    with mounted(*with_file(spill)) as mount:
        spilled(mount, pages)
        change(spill)
        found = read(mount, 0, NR_PAGES)
        kill_worker(mount)
        found_again = read(mount, 0, NR_PAGES)
        # There is room for more, too.
        store_pages(mount, pages, NR_PAGES)
        write_back_all(mount)
        more = read(mount, NR_PAGES, NR_PAGES)

    assert found == found_again == more == pages


def test_an_empty_device_costs_the_pages_there_and_no_worker(
    mounted: MountFactory, spill: Path, pages: bytes, announced: list[str]
) -> None:
    announced.append(RESTARTED)
    announced.append(r"ERROR: page \d+ in block \d+ of")
    with mounted(*with_file(spill)) as mount:
        spilled(mount, pages)
        store_pages(mount, pages[: 16 * PAGE_SIZE])
        in_memory = 16
        os.truncate(spill, 0)
        kill_worker(mount)
        found = read(mount, 0, in_memory)
        lost = lost_pages(mount)
        count = int(mount.show("bd_stat").split()[0])
        store_pages(mount, pages)
        healed = read(mount, 0, NR_PAGES)

    assert found == pages[: in_memory * PAGE_SIZE]
    assert len(lost) == count > 0
    assert min(lost) >= in_memory
    assert healed == pages


@pytest.fixture
def background(place: Path, spill: Path, announced: list[str]) -> Iterator[Mount]:
    """A mount in the background, which the test ends."""
    path, log = place / "mnt", place / "log"
    path.mkdir()
    zramfs("mount", path, "--log-file", log, *with_file(spill))
    yield Mount(path=path, log=log)
    assert teardown.leftovers(place) == []
    assert_quiet(log, announced)
    assert "Traceback" not in log.read_text()


def _by_command(mount: Mount) -> None:
    # As long as the store is under way its file is open.
    while "target is busy" in attempt(*ZRAMFS, "umount", mount.path).stderr:
        pass


def _lazily(mount: Mount) -> None:
    run("umount", "--lazy", mount.path)


def _by_signal(mount: Mount) -> None:
    os.kill(mount.supervisor, signal.SIGTERM)


@pytest.mark.requires("root")
@pytest.mark.parametrize("end", [_by_command, _lazily, _by_signal])
def test_the_end_comes_in_the_middle_of_a_writeback(
    background: Mount, place: Path, spill: Path, end: Callable[[Mount], None]
) -> None:
    supervisor = background.supervisor
    data = noise(8 * MIB)
    store_pages(background, data)
    background.store("idle", "all")
    background.store("writeback_batch_size", "1")
    failures: list[OSError] = []

    def write_back() -> None:
        try:
            background.store("writeback", "idle")
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=write_back)
    thread.start()
    assert teardown.wait_until(lambda: int(background.show("bd_stat").split()[2]) > 0)
    end(background)
    thread.join(20)

    assert not thread.is_alive()
    assert teardown.wait_for_end(supervisor)
    # Nobody has the file any more.
    (place / "other").mkdir()
    zramfs("mount", place / "other", *with_file(spill))
    zramfs("umount", place / "other")
