"""zramfs.mount.second_thread: work that another thread does meanwhile."""

import os
import threading
import weakref

import pytest

from zramfs.core.steps import Work
from zramfs.mount.second_thread import SecondThread, second_thread


def test_work_is_done_beside_what_goes_on() -> None:
    began, may_end = threading.Event(), threading.Event()
    done: list[str] = []

    def work() -> None:
        began.set()
        assert may_end.wait(10)
        done.append(threading.current_thread().name)

    wait = SecondThread().begin(Work(work))
    assert began.wait(10)
    assert not done
    may_end.set()
    wait()

    assert done == ["second"]


def test_each_work_is_waited_for_by_itself_and_done_in_turn() -> None:
    thread = SecondThread()
    done: list[int] = []
    waits = [
        thread.begin(Work(lambda number=number: done.append(number)))  # type: ignore[misc]
        for number in range(5)
    ]

    for wait in reversed(waits):
        wait()

    assert done == [0, 1, 2, 3, 4]
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("second") >= 1


def test_whoever_waits_has_what_went_wrong() -> None:
    thread = SecondThread()

    def fail() -> None:
        raise MemoryError

    failing, working = thread.begin(Work(fail)), thread.begin(Work(lambda: None))

    with pytest.raises(MemoryError):
        failing()
    working()


def test_what_work_was_done_with_does_not_stay() -> None:
    class Buffer:
        """Something that is told when it goes."""

    gone = threading.Event()
    buffer = Buffer()
    weakref.finalize(buffer, gone.set)
    thread = SecondThread()

    def work(buffer: Buffer = buffer) -> None:
        repr(buffer)

    thread.begin(Work(work))()
    del buffer, work

    assert gone.wait(10)


def test_without_a_thread_it_is_done_when_it_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[str] = []

    wait = SecondThread().begin(
        Work(lambda: done.append(threading.current_thread().name))
    )
    assert not done
    wait()

    assert done == ["MainThread"]


@pytest.mark.parametrize(("processors", "has_one"), [({0}, False), ({0, 3}, True)])
def test_there_is_one_if_there_is_a_processor_for_it(
    monkeypatch: pytest.MonkeyPatch, processors: set[int], *, has_one: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: processors)

    assert (second_thread() is not None) is has_one
