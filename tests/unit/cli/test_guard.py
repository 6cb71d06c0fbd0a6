"""zramfs.cli.guard: what is left is taken down, whoever is killed."""

import ctypes
import errno
import os
import select
import signal
from pathlib import Path

import pytest

from zramfs.cli import guard
from zramfs.cli.guard import Scene, end_all, guarded, namespace_of

NOBODYS = 1
"""No namespace has this inode."""


class Libc:
    """A swapoff(2) that answers *number*, 0 being done."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked: list[bytes] = []

    def swapoff(self, path: bytes) -> int:
        self.asked.append(path)
        return -1 if self.number else 0


def nr_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_scene_is_cleaned_once_at_the_end(tmp_path: Path) -> None:
    before = nr_open()

    def clean() -> None:
        with (tmp_path / "cleaned").open("a") as file:
            file.write(f"by {os.getpid()}\n")

    with guarded(clean, 0):
        assert not (tmp_path / "cleaned").exists()

    assert (tmp_path / "cleaned").read_text() == f"by {os.getpid()}\n"
    assert nr_open() == before


def test_what_resists_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded(lambda: "it resists", 0):
        pass

    assert capsys.readouterr().err == "zramfs: it resists\n"


def test_the_guard_cleans_for_one_that_is_killed(tmp_path: Path) -> None:
    """It holds the descriptor that it is to keep, until it has."""
    kept, end = os.pipe()
    child = os.fork()
    if not child:
        os.close(kept)

        def clean() -> None:
            (tmp_path / str(os.getsid(0))).touch()

        with guarded(clean, end):
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(end)
    os.waitpid(child, 0)

    readable, _, _ = select.select([kept], [], [], 10)

    assert readable
    assert os.read(kept, 1) == b""
    os.close(kept)
    (session,) = tmp_path.iterdir()
    assert int(session.name) != os.getsid(0)


def test_a_guard_that_is_killed_is_not_missed(tmp_path: Path) -> None:
    def children() -> list[int]:
        task = Path(f"/proc/self/task/{os.getpid()}/children")
        return list(map(int, task.read_text().split()))

    before = set(children())
    with guarded((tmp_path / "cleaned").touch, 0):
        (pid,) = set(children()) - before
        os.kill(pid, signal.SIGKILL)

    assert (tmp_path / "cleaned").exists()


def test_a_namespace_without_processes_is_nothing_to_end() -> None:
    end_all(NOBODYS)


def test_processes_elsewhere_are_left_alone() -> None:
    assert namespace_of(os.getpid()) != NOBODYS
    assert namespace_of(os.getpid()) == Path("/proc/self/ns/mnt").stat().st_ino


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, None),
        (errno.EINVAL, None),  # it was not swapped on
        (errno.ENOMEM, "/dev/loop7 stays swapped on: Cannot allocate memory"),
    ],
)
def test_a_swap_is_switched_off(
    monkeypatch: pytest.MonkeyPatch, number: int, said: str | None
) -> None:
    libc = Libc(number)
    monkeypatch.setattr(guard, "_libc", libc)
    monkeypatch.setattr(ctypes, "get_errno", lambda: number)

    assert Scene(namespace=NOBODYS, swap=Path("/dev/loop7")).clean() == said
    assert libc.asked == [b"/dev/loop7"]


def test_a_swap_of_somebody_else_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Libc(0)
    monkeypatch.setattr(guard, "_libc", libc)

    assert Scene(namespace=NOBODYS, swap=None).clean() is None
    assert libc.asked == []
