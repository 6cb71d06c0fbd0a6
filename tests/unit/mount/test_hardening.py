"""zramfs.mount.hardening: each measure, granted and refused."""

import ctypes
import errno
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from zramfs.mount.hardening import Measure, harden

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


@pytest.fixture
def oom_score_adj(tmp_path: Path) -> Path:
    path = tmp_path / "oom_score_adj"
    path.write_text("0\n")
    return path


def refusals(measures: list[Measure]) -> dict[str, str | None]:
    return {measure.name: measure.refusal for measure in measures}


def test_every_measure_may_be_granted(oom_score_adj: Path) -> None:
    assert refusals(harden(FakeLibc(), oom_score_adj)) == dict.fromkeys(NAMES)


def test_memory_is_locked_as_it_is_touched(oom_score_adj: Path) -> None:
    libc = FakeLibc()

    harden(libc, oom_score_adj)

    assert ("mlockall", (MCL_CURRENT_FUTURE_ONFAULT,)) in libc.calls


def test_the_kernel_is_told_that_this_process_serves_io(oom_score_adj: Path) -> None:
    libc = FakeLibc()

    harden(libc, oom_score_adj)

    assert ("prctl", (PR_SET_IO_FLUSHER, 1, 0, 0, 0)) in libc.calls


def test_the_oom_killer_is_told_to_look_elsewhere(oom_score_adj: Path) -> None:
    harden(FakeLibc(), oom_score_adj)

    assert oom_score_adj.read_text() == "-1000\n"


@pytest.mark.parametrize(
    ("call", "name"), [("mlockall", "mlockall"), ("prctl", "PR_SET_IO_FLUSHER")]
)
def test_a_refusal_says_why_and_the_others_hold(
    oom_score_adj: Path, call: str, name: str
) -> None:
    measures = harden(FakeLibc(refuses={call: errno.EPERM}), oom_score_adj)

    assert refusals(measures) == dict.fromkeys(NAMES) | {
        name: "Operation not permitted"
    }


def test_an_oom_score_that_cannot_be_written_is_a_refusal(tmp_path: Path) -> None:
    measures = harden(FakeLibc(), tmp_path)

    assert refusals(measures)["oom_score_adj"] == "Is a directory"


def test_a_measure_that_holds_is_said_to() -> None:
    assert str(Measure(name="x", refusal=None, consequence="y")) == "x: ok"


def test_a_refused_measure_says_what_follows() -> None:
    measure = Measure(name="x", refusal="not now", consequence="it may rain")

    assert str(measure) == "x: refused (not now): it may rain"


def test_every_refusal_comes_with_what_follows(tmp_path: Path) -> None:
    libc = FakeLibc(refuses={"mlockall": errno.ENOMEM, "prctl": errno.EPERM})

    measures = harden(libc, tmp_path)

    assert [measure.name for measure in measures if measure.refusal] == list(NAMES)
    assert all(measure.consequence for measure in measures)
