"""A backing device that hangs: what is asked for meanwhile, and the end of a mount."""

import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.integration import teardown
from tests.integration.commands import refused, run, zramfs
from tests.integration.corpus import noise
from tests.integration.files import aligned, opened
from tests.integration.mounts import PAGE_SIZE, Mount, MountFactory, assert_quiet
from tests.integration.spills import bd_stat, held_file, read, write_back_all
from tests.pages import make_page
from zramfs.spill import open_spill

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse", "root"),
    pytest.mark.paths("always"),
    pytest.mark.timeout(60),
]

NR_PAGES: Final = 64

Answer = bytes | int | OSError


class Asked:
    """Something asked for in another thread, and what is answered some day."""

    def __init__(self, ask: Callable[[], bytes | int]) -> None:
        self._answers: list[Answer] = []
        self._thread = threading.Thread(target=self._run, args=(ask,))
        self._thread.start()

    def _run(self, ask: Callable[[], bytes | int]) -> None:
        try:
            self._answers.append(ask())
        except OSError as error:
            self._answers.append(error)

    @property
    def is_answered(self) -> bool:
        return bool(self._answers)

    def answer(self) -> Answer:
        """Wait for the answer; an errno stands for a failure of the call."""
        self._thread.join(20)
        assert self._answers, "no answer"
        (answer,) = self._answers
        return answer


def store(mount: Mount, name: str, text: str) -> Asked:
    return Asked(lambda: mount.store(name, text))


def number_of(answer: Answer) -> int | None:
    """Return what a store has taken, or its errno below 0."""
    assert not isinstance(answer, bytes)
    if isinstance(answer, OSError):
        return -(answer.errno or 0)
    return answer


@pytest.fixture
def held(place: Path) -> Iterator[tuple[Path, Path]]:
    """A backing device that hangs while the second file is there."""
    with held_file(place) as held:
        yield held


def fill(mount: Mount, first: int, count: int, kind: str) -> None:
    with opened(mount.swapfile) as fd:
        for index in range(first, first + count):
            os.pwrite(fd, aligned(make_page(kind, index)), index * PAGE_SIZE)


def begin_to_write_back(mount: Mount) -> Asked:
    """Ask for it, and wait until pages are on their way."""
    before, _, _ = bd_stat(mount)
    asked = store(mount, "writeback", "huge")
    assert teardown.wait_until(lambda: bd_stat(mount)[0] > before)
    return asked


def wait_for_requests(mount: Mount, count: int) -> None:
    """Wait until so many have come to the mount and are not answered."""
    (line,) = teardown.mounts_below(mount.path)
    waiting = teardown.control(line.connection) / "waiting"
    assert teardown.wait_until(lambda: int(waiting.read_text()) == count)


def test_what_is_asked_for_while_a_writeback_runs(
    mounted: MountFactory, held: tuple[Path, Path]
) -> None:
    """As Linux was asked, while the device is as slow as that takes."""
    file, hold = held
    with mounted("--disksize", "1M", "--backing-dev", str(file)) as mount:
        fill(mount, 0, 20, "rand")
        mount.store("idle", "all")
        hold.touch()
        first = begin_to_write_back(mount)
        in_turn = [
            store(mount, "writeback", "idle"),
            store(mount, "writeback", "page_index=0"),
            store(mount, "writeback", "bogus"),
            store(mount, "writeback", "page_index=9999"),
            store(mount, "recompress", "type=huge"),
        ]
        # Into one file the kernel lets one write at a time.
        wait_for_requests(mount, 2)
        shown = mount.show("writeback_limit"), mount.show("disksize")
        unwritten = read(mount, 200)
        fill(mount, 200, 1, "text")
        written = read(mount, 200)
        early = [asked.is_answered for asked in (first, *in_turn)]
        hold.unlink()
        answers = [number_of(asked.answer()) for asked in (first, *in_turn)]

        assert shown == ("0\n", "1048576\n")
        assert unwritten == bytes(PAGE_SIZE)
        assert written == make_page("text", 200)
        assert not any(early)
        assert answers == [
            *(4, 4, 12),
            *(-errno.EINVAL, -errno.ERANGE, -errno.EINVAL),
        ]
        assert bd_stat(mount) == (20, 0, 20)

        fill(mount, 30, 10, "rand")
        hold.touch()
        second = begin_to_write_back(mount)
        reset = store(mount, "reset", "1")
        wait_for_requests(mount, 2)
        state = mount.show("initstate")
        is_early = second.is_answered or reset.is_answered
        hold.unlink()

        assert [number_of(second.answer()), number_of(reset.answer())] == [4, 1]
        assert (state, is_early) == ("1\n", False)
        assert mount.show("initstate") == "0\n"
        assert bd_stat(mount) == (0, 0, 0)
        assert mount.show("backing_dev") == "none\n"


@pytest.fixture
def background(
    place: Path, held: tuple[Path, Path], announced: list[str]
) -> Iterator[Mount]:
    """A mount with pages in memory and on the backing device, which the test ends."""
    path, log = place / "mnt", place / "log"
    path.mkdir()
    file, _ = held
    options = ("--disksize", "16M", "--backing-dev", file)
    zramfs("mount", path, "--log-file", log, *options)
    mount = Mount(path=path, log=log)
    with opened(mount.swapfile) as fd:
        os.pwrite(fd, aligned(noise(NR_PAGES * PAGE_SIZE, 0)), 0)
        write_back_all(mount)
        second = aligned(noise(NR_PAGES * PAGE_SIZE, 1))
        os.pwrite(fd, second, NR_PAGES * PAGE_SIZE)
    yield mount
    assert teardown.leftovers(path) == []
    # Nobody has the file any more.
    os.close(open_spill(str(file)))
    assert_quiet(log, announced)
    assert "Traceback" not in log.read_text()


@pytest.fixture
def waiting(background: Mount, held: tuple[Path, Path]) -> tuple[Asked, Asked]:
    """A read and a writeback that wait for the backing device."""
    _, hold = held
    hold.touch()
    reading = Asked(lambda: read(background, 3))
    assert teardown.wait_until(lambda: bd_stat(background)[1] == 1)
    return reading, begin_to_write_back(background)


def test_umount_refuses_while_the_backing_device_hangs(
    background: Mount, held: tuple[Path, Path], waiting: tuple[Asked, Asked]
) -> None:
    reading, writing = waiting
    _, hold = held

    sentence = refused("umount", background.path)
    early = reading.is_answered, writing.is_answered
    hold.unlink()
    answers = reading.answer(), writing.answer()
    pages = read(background, 0, 2 * NR_PAGES)
    zramfs("umount", background.path)

    assert "busy" in sentence
    assert early == (False, False)
    assert answers == (noise(4 * PAGE_SIZE)[3 * PAGE_SIZE :], 4)
    assert pages == noise(NR_PAGES * PAGE_SIZE, 0) + noise(NR_PAGES * PAGE_SIZE, 1)


def _lazily(mount: Mount) -> None:
    run("umount", "--lazy", mount.path)


def _by_signal(mount: Mount) -> None:
    os.kill(mount.supervisor, signal.SIGTERM)


@pytest.mark.parametrize("end", [_lazily, _by_signal])
def test_the_end_comes_while_the_backing_device_hangs(
    background: Mount,
    held: tuple[Path, Path],
    waiting: tuple[Asked, Asked],
    end: Callable[[Mount], None],
) -> None:
    reading, writing = waiting
    supervisor = background.supervisor
    _, hold = held

    end(background)
    is_gone = teardown.wait_until(lambda: not teardown.mounts_below(background.path))
    hold.unlink()
    page, taken = reading.answer(), writing.answer()

    assert is_gone
    assert teardown.wait_for_end(supervisor)
    # Whoever waits gets the page, or an error if nobody serves the mount any more.
    assert isinstance(page, OSError) or page == noise(4 * PAGE_SIZE)[3 * PAGE_SIZE :]
    assert isinstance(taken, OSError) or taken == 4
