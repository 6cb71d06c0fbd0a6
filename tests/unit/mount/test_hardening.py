"""zramfs.mount.hardening: each measure, granted and refused."""

import ctypes
import errno
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from zramfs.mount.hardening import harden, verified
from zramfs.mount.measures import Measure

MCL_CURRENT_FUTURE_ONFAULT = 1 | 2 | 4
PR_SET_IO_FLUSHER = 57

NAMES = ("mlockall", "PR_SET_IO_FLUSHER", "oom_score_adj")


@dataclass(slots=True)
class FakeLibc:
    """A C library that notes what it is asked, and refuses some of it."""

    refuses: dict[str, int] = field(default_factory=dict)
    calls: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def _answer(self, name: str, *arguments: int) -> int:
        self.calls.append((name, arguments))
        if name in self.refuses:
            ctypes.set_errno(self.refuses[name])
            return -1
        return 0

    def mlockall(self, flags: int) -> int:
        return self._answer("mlockall", flags)

    def prctl(self, option: int, *arguments: int) -> int:
        return self._answer("prctl", option, *arguments)


THREAD_STAT = "{tid} (a) b (c) S 1 1 1 0 -1 {flags} 0 0 0 0 0\n"
BOTH_FLAGS = 0x00180000


@dataclass(slots=True)
class Proc:
    """A /proc/PID, of a process with one thread that has every measure."""

    path: Path

    def __post_init__(self) -> None:
        self.path.mkdir()
        self.status()
        self.thread(1, BOTH_FLAGS)
        (self.path / "oom_score_adj").write_text("-1000\n")

    def status(self, *, locked: int = 90, resident: int = 40, swapped: int = 0) -> None:
        rows = f"VmLck:\t{locked} kB\nVmRSS:\t{resident} kB\nVmSwap:\t{swapped} kB\n"
        (self.path / "status").write_text(f"Name:\tpython\n{rows}")

    def thread(self, tid: int, flags: int) -> None:
        task = self.path / "task" / str(tid)
        task.mkdir(parents=True, exist_ok=True)
        (task / "stat").write_text(THREAD_STAT.format(tid=tid, flags=flags))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path / "proc")


def refusals(measures: list[Measure]) -> dict[str, str | None]:
    return {measure.name: measure.refusal for measure in measures}


def test_every_measure_may_be_granted(proc: Proc) -> None:
    assert refusals(harden(FakeLibc(), proc.path)) == dict.fromkeys(NAMES)


def test_memory_is_locked_as_it_is_touched(proc: Proc) -> None:
    libc = FakeLibc()

    harden(libc, proc.path)

    assert ("mlockall", (MCL_CURRENT_FUTURE_ONFAULT,)) in libc.calls


def test_the_kernel_is_told_that_this_process_serves_io(proc: Proc) -> None:
    libc = FakeLibc()

    harden(libc, proc.path)

    assert ("prctl", (PR_SET_IO_FLUSHER, 1, 0, 0, 0)) in libc.calls


def test_the_oom_killer_is_told_to_look_elsewhere(proc: Proc) -> None:
    (proc.path / "oom_score_adj").write_text("0\n")

    harden(FakeLibc(), proc.path)

    assert (proc.path / "oom_score_adj").read_text() == "-1000\n"


@pytest.mark.parametrize(
    ("call", "name"), [("mlockall", "mlockall"), ("prctl", "PR_SET_IO_FLUSHER")]
)
def test_a_refusal_says_why_and_the_others_hold(
    proc: Proc, call: str, name: str
) -> None:
    measures = harden(FakeLibc(refuses={call: errno.EPERM}), proc.path)

    assert refusals(measures) == dict.fromkeys(NAMES) | {
        name: "Operation not permitted"
    }


def test_an_oom_score_that_cannot_be_written_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "oom_score_adj").mkdir()

    measures = harden(FakeLibc(), tmp_path)

    assert refusals(measures)["oom_score_adj"] == "Is a directory"


def test_every_refusal_comes_with_what_follows(tmp_path: Path) -> None:
    libc = FakeLibc(refuses={"mlockall": errno.ENOMEM, "prctl": errno.EPERM})
    (tmp_path / "oom_score_adj").mkdir()

    measures = harden(libc, tmp_path)

    assert [measure.name for measure in measures if measure.refusal] == list(NAMES)
    assert all(measure.consequence for measure in measures)


def test_only_memory_that_is_not_locked_makes_swapping_hang(proc: Proc) -> None:
    essential = [m.name for m in harden(FakeLibc(), proc.path) if m.essential]

    assert essential == ["mlockall"]


def seen(proc: Proc, libc: FakeLibc | None = None) -> dict[str, str | None]:
    return refusals(verified(harden(libc or FakeLibc(), proc.path), proc.path))


def test_what_was_granted_and_shows_is_held(proc: Proc) -> None:
    assert seen(proc) == dict.fromkeys(NAMES)


@pytest.mark.parametrize(
    ("sizes", "doubt"),
    [
        ({"locked": 0}, "granted, but 0B of 40.0K is locked"),
        ({"locked": 39}, "granted, but 39.0K of 40.0K is locked"),
        ({"swapped": 8}, "granted, but 8.0K of it is swapped out"),
    ],
    ids=["not at all", "in part", "too late"],
)
def test_a_lock_that_does_not_show_is_not_believed(
    proc: Proc, sizes: dict[str, int], doubt: str
) -> None:
    proc.status(**sizes)

    assert seen(proc) == dict.fromkeys(NAMES) | {"mlockall": doubt}


@pytest.mark.parametrize("flags", [0, 0x00080000, 0x00100000])
def test_a_thread_that_may_wait_for_io_is_counted(proc: Proc, flags: int) -> None:
    proc.thread(2, BOTH_FLAGS | 0x40)
    proc.thread(3, flags)

    assert seen(proc)["PR_SET_IO_FLUSHER"] == (
        "granted, but 1 of 3 threads are without it"
    )


def test_a_thread_that_has_just_ended_is_no_matter(proc: Proc) -> None:
    (proc.path / "task" / "2").mkdir()

    assert seen(proc) == dict.fromkeys(NAMES)


def test_a_score_that_somebody_raised_again_is_refused(proc: Proc) -> None:
    taken = harden(FakeLibc(), proc.path)
    (proc.path / "oom_score_adj").write_text("200\n")

    assert refusals(verified(taken, proc.path))["oom_score_adj"] == (
        "granted, but it is 200"
    )


def test_what_a_service_manager_had_seen_to_is_held(proc: Proc) -> None:
    libc = FakeLibc(refuses={"prctl": errno.EPERM})

    assert seen(proc, libc) == dict.fromkeys(NAMES)


def test_a_refusal_that_shows_keeps_its_reason(proc: Proc) -> None:
    proc.thread(1, 0)

    refusal = seen(proc, FakeLibc(refuses={"prctl": errno.EPERM}))["PR_SET_IO_FLUSHER"]

    assert refusal == "Operation not permitted"


def test_this_process_can_be_looked_at() -> None:
    measures = [Measure(name=name) for name in NAMES]

    assert [measure.name for measure in verified(measures)] == list(NAMES)
