"""zramfs.mount.crew: what follows from what happens to workers."""

import errno
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.mount.workers import Commands, FakeCommand, Petitioner, Worker
from zramfs.errors import MountRefused
from zramfs.mount import crew as crew_module
from zramfs.mount import session
from zramfs.mount.channel import Word
from zramfs.mount.child import Child
from zramfs.mount.config import Config
from zramfs.mount.crew import Crew
from zramfs.mount.holdings import Holdings
from zramfs.mount.succession import Succession
from zramfs.mount.upgrade import Petition

CONFIG = Config(
    mountpoint="/mnt/z",
    settings={},
    data_path="lane",
    foreground=True,
    log_file=None,
)
KILLED = -signal.SIGKILL


class Stage:
    """A crew whose workers are the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands = Commands()
        self.watched: list[Child] = []
        self.told: list[str] = []
        self.petitioners: list[Petitioner] = []
        self.holdings = Holdings(mountpoint=Path("/mnt/z"), memory=_null())
        command = self.commands.command
        self.crew = Crew(CONFIG, self.holdings, command, self.watched.append)
        monkeypatch.setattr(session, "connect", lambda _: _null())
        monkeypatch.setattr(session, "mounts", list)
        monkeypatch.setattr(
            crew_module, "tell_ready", lambda _: self.told.append("ready")
        )
        monkeypatch.setattr(Succession, "begin", self._begin)

    def _begin(
        self, petition: Petition, _config: str, memory: int, generation: int
    ) -> Succession:
        said = os.memfd_create("stderr")
        newer = FakeCommand(words=("new",), environment={}, commands=self.commands)
        child = newer.start(memory, generation)
        return Succession(petition=petition, child=child, said=said)

    def petition(self) -> Petitioner:
        """Let somebody want an upgrade."""
        petitioner = Petitioner()
        self.petitioners.append(petitioner)
        self.crew.take_petition(petitioner.petition)
        return petitioner

    def hear(self) -> None:
        """Let the crew hear what the last worker has said."""
        worker = self.commands.last
        for message in worker.said():
            self.crew.take_message(worker.child, message)

    def say(self, *words: Word) -> None:
        for word in words:
            self.commands.last.channel.send(word)
        self.hear()

    def serve(self) -> Worker:
        """Let a first worker serve, as on a kernel that sends requests again."""
        self.crew.start()
        self.say(Word.PREPARED, Word.RESTARTABLE, Word.READY, Word.CAUGHT_UP)
        return self.commands.last

    def bury(self, worker: Worker, status: int = KILLED) -> None:
        worker.close()
        worker.child.end()
        self.crew.bury(worker.child, status)

    def close(self) -> None:
        self.crew.close()
        self.commands.close()
        for petitioner in self.petitioners:
            petitioner.close()
        self.holdings.close()


def _null() -> int:
    return os.open(os.devnull, os.O_RDWR)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(monkeypatch)
    yield stage
    stage.close()


def test_a_worker_gets_the_memory_then_its_turn(stage: Stage) -> None:
    stage.crew.start()
    worker = stage.commands.last
    start = worker.receive(Word.START)
    stage.say(Word.PREPARED)
    turn = worker.receive(Word.TURN)

    assert (start.text, len(start.fds)) == ("0", 1)
    assert (turn.text, len(turn.fds)) == ("", 2)
    assert stage.watched == [worker.child]


@pytest.mark.usefixtures("_restarts_logged")
def test_the_mount_is_ready_when_the_first_worker_is(stage: Stage) -> None:
    first = stage.serve()
    stage.bury(first)
    stage.crew.act_in_time()
    stage.say(Word.PREPARED, Word.READY)

    assert stage.told == ["ready"]


def test_a_worker_that_ends_by_itself_is_the_end(stage: Stage) -> None:
    stage.bury(stage.serve(), 0)

    assert stage.crew.status == 0


def test_a_worker_that_cannot_begin_is_the_end(stage: Stage) -> None:
    stage.crew.start()
    stage.bury(stage.commands.last, 3)

    assert stage.crew.status == 3


def test_a_worker_that_is_killed_before_it_begins_is_a_sentence(stage: Stage) -> None:
    stage.crew.start()

    with pytest.raises(MountRefused, match="killed by SIGSEGV before it was ready"):
        stage.bury(stage.commands.last, -signal.SIGSEGV)


@pytest.mark.usefixtures("_restarts_logged")
def test_a_worker_that_is_killed_is_replaced_at_once(stage: Stage) -> None:
    first = stage.serve()
    stage.bury(first)
    pause_s = stage.crew.wait_s()
    stage.crew.act_in_time()
    second = stage.commands.last

    assert (pause_s, stage.crew.status) == (0.0, None)
    assert second is not first
    assert second.receive(Word.START).text == "1"
    assert stage.crew.wait_s() is None


@pytest.fixture
def _restarts_logged(announced: list[str]) -> None:
    announced.append(r"WARNING: worker \d+ was killed by SIGKILL: starting another")


@pytest.mark.usefixtures("_restarts_logged")
def test_what_a_worker_leaves_is_its_successors(stage: Stage) -> None:
    first = stage.serve()
    pipe = os.pipe()
    first.channel.send(Word.KEEP, "backing_dev", (pipe[0],))
    first.channel.send(Word.KEEP, "dropped", (pipe[1],))
    stage.say(Word.DROP)  # of nothing
    first.channel.send(Word.DROP, "dropped")
    stage.hear()
    inode = os.fstat(pipe[0]).st_ino
    for fd in pipe:
        os.close(fd)
    stage.bury(first)
    stage.crew.act_in_time()
    stage.say(Word.PREPARED)
    stage.commands.last.receive(Word.START)
    turn = stage.commands.last.receive(Word.TURN)

    assert turn.text == "backing_dev"
    assert os.fstat(turn.fds[2]).st_ino == inode


def test_the_first_worker_is_not_given_what_it_has(stage: Stage) -> None:
    stage.crew.start()
    worker = stage.commands.last
    worker.receive(Word.START)
    worker.channel.send(Word.KEEP, "backing_dev", (stage.holdings.memory,))
    stage.say(Word.PREPARED)
    turn = worker.receive(Word.TURN)

    assert (turn.text, len(turn.fds)) == ("", 2)


def test_without_resend_a_death_is_the_end(stage: Stage, announced: list[str]) -> None:
    announced.append("CRITICAL: worker .* what it had read is lost: Linux before 6.9")
    stage.crew.start()
    stage.say(Word.PREPARED, Word.READY)
    stage.bury(stage.commands.last)

    assert stage.crew.status == 1


def test_workers_that_do_not_catch_up_are_given_up(
    stage: Stage, announced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    announced.append("starting another")
    announced.append("CRITICAL: worker .* as 5 before it did; /mnt/z is dead, 'zramfs ")
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pauses = []
    stage.bury(stage.serve())
    while stage.crew.status is None:
        pauses.append(round(stage.crew.wait_s() or 0.0, 3))
        clock[0] += 10
        stage.crew.act_in_time()
        stage.say(Word.PREPARED)
        stage.bury(stage.commands.last, 1)

    assert pauses == [0.0, 0.0, 0.1, 0.2, 0.4, 0.8]
    assert stage.crew.status == 1


def test_a_signal_before_it_is_ready_is_the_end(stage: Stage) -> None:
    stage.crew.start()
    stage.crew.pass_on([signal.SIGTERM])

    assert stage.crew.status == 128 + signal.SIGTERM


@pytest.mark.usefixtures("_restarts_logged")
def test_a_signal_is_the_next_workers_if_there_is_none_now(stage: Stage) -> None:
    stage.bury(stage.serve())
    stage.crew.pass_on([signal.SIGTERM])
    stage.crew.act_in_time()
    before = list(stage.commands.last.signals)
    stage.say(Word.PREPARED, Word.READY)

    assert (before, stage.commands.last.signals) == ([], [signal.SIGTERM])


@pytest.mark.usefixtures("_restarts_logged")
@pytest.mark.parametrize(("late_s", "again"), [(0.0, [signal.SIGTERM]), (2.0, [])])
def test_a_signal_is_the_next_workers_if_this_one_died_of_something_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, late_s: float, again: list[int]
) -> None:
    stage.serve()
    stage.crew.pass_on([signal.SIGTERM])
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + late_s)
    stage.bury(stage.commands.last, KILLED)
    stage.crew.act_in_time()
    stage.say(Word.PREPARED, Word.READY)

    assert stage.commands.last.signals == again


def test_a_signal_is_passed_on(stage: Stage) -> None:
    worker = stage.serve()
    stage.crew.pass_on([signal.SIGINT])

    assert worker.signals == [signal.SIGINT]


def test_an_upgrade_stops_the_old_worker_when_the_new_one_is_prepared(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    old = stage.serve()
    old.said_to()
    petitioner = stage.petition()
    before = old.said_to()
    stage.say(Word.PREPARED)
    stopped = old.said_to()
    stage.bury(old, 0)
    stage.say(Word.READY)
    new = stage.commands.last

    assert (before, stopped) == ([], [Word.STOP])
    assert new.said_to() == [Word.START, Word.TURN]
    assert petitioner.answer() == {"pid": new.child.pid}
    assert stage.crew.status is None


def test_later_workers_are_of_the_new_program(stage: Stage) -> None:
    old = stage.serve()
    stage.petition()
    stage.say(Word.PREPARED)
    stage.bury(old, 0)
    stage.say(Word.READY)

    assert stage.crew._command is stage.commands.last.child.command


def test_a_new_worker_that_cannot_begin_changes_nothing(
    stage: Stage, announced: list[str]
) -> None:
    announced.append("WARNING: no upgrade: RuntimeError: broken")
    old = stage.serve()
    old.said_to()
    petitioner = stage.petition()
    assert stage.crew._succession
    os.write(stage.crew._succession.said, b"Traceback\nRuntimeError: broken\n\n")
    stage.bury(stage.commands.last, 1)

    assert petitioner.answer() == {"refusal": "RuntimeError: broken"}
    assert (old.said_to(), stage.crew.status, stage.crew.wait_s()) == ([], None, None)


def test_a_new_worker_says_itself_why_it_cannot_begin(
    stage: Stage, announced: list[str]
) -> None:
    announced.append("no upgrade")
    stage.serve()
    petitioner = stage.petition()
    stage.commands.last.channel.send(Word.FAILED, "the memory is of format 2")
    stage.hear()
    stage.bury(stage.commands.last, 1)

    assert petitioner.answer() == {"refusal": "the memory is of format 2"}


def test_a_new_worker_that_takes_too_long_is_killed(
    stage: Stage, announced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    announced.append("no upgrade")
    stage.serve()
    petitioner = stage.petition()
    wait_s = stage.crew.wait_s()
    assert wait_s
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + wait_s)
    stage.crew.act_in_time()
    new = stage.commands.last
    killed = new.signals == [signal.SIGKILL]
    stage.bury(new)

    assert 0 < wait_s <= 60
    assert killed
    assert petitioner.answer() == {"refusal": "the new worker was killed by SIGKILL"}


def test_an_old_worker_that_does_not_stop_is_killed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = stage.serve()
    stage.petition()
    stage.say(Word.PREPARED)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    stage.crew.act_in_time()
    killed = old.signals == [signal.SIGKILL]
    stage.bury(old)

    assert killed
    assert Word.TURN in stage.commands.last.said_to()


def test_an_old_worker_that_dies_meanwhile_is_succeeded(stage: Stage) -> None:
    old = stage.serve()
    petitioner = stage.petition()
    stage.bury(old)
    stage.say(Word.PREPARED, Word.READY)

    assert petitioner.answer() == {"pid": stage.commands.last.child.pid}


@pytest.mark.usefixtures("_restarts_logged")
def test_a_new_worker_that_dies_after_it_took_over_is_replaced_by_the_old_program(
    stage: Stage, announced: list[str]
) -> None:
    announced.append("no upgrade")
    old = stage.serve()
    petitioner = stage.petition()
    stage.say(Word.PREPARED)
    stage.bury(old, 0)
    stage.bury(stage.commands.last)
    stage.crew.act_in_time()
    third = stage.commands.last

    assert petitioner.answer() == {"refusal": "the new worker was killed by SIGKILL"}
    assert third.receive(Word.START).text == "2"
    assert third.child.command is stage.commands.command


@pytest.mark.parametrize("status", [0, KILLED])
def test_a_new_worker_that_dies_before_the_old_one_has_stopped_is_replaced(
    stage: Stage, announced: list[str], status: int
) -> None:
    announced += ["no upgrade", "starting another"]
    old = stage.serve()
    petitioner = stage.petition()
    stage.say(Word.PREPARED)
    stage.bury(stage.commands.last)
    stage.bury(old, status)
    pause_s = stage.crew.wait_s()
    stage.crew.act_in_time()

    assert "SIGKILL" in petitioner.refusal()
    assert (stage.crew.status, pause_s) == (None, 0.0)
    assert stage.commands.last.child.command is stage.commands.command


def test_a_new_worker_that_was_killed_stops_nobody(
    stage: Stage, announced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    announced.append("no upgrade")
    old = stage.serve()
    old.said_to()
    stage.petition()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    stage.crew.act_in_time()
    stage.say(Word.PREPARED)  # a moment too late
    stage.bury(stage.commands.last)

    assert (old.said_to(), stage.crew.status) == ([], None)


NO_MEMORY = OSError(errno.ENOMEM, "Cannot allocate memory")


def test_a_worker_that_cannot_be_started_now_is_started_later(
    stage: Stage, announced: list[str]
) -> None:
    announced += ["starting another", "no worker can be started .Cannot allocate"]
    stage.bury(stage.serve())
    stage.commands.errors.append(NO_MEMORY)
    stage.crew.act_in_time()
    pause_s = stage.crew.wait_s()
    stage.crew.act_in_time()

    assert pause_s == 0.0
    assert len(stage.commands.workers) == 2
    assert stage.crew.status is None


def test_workers_that_cannot_be_started_at_all_are_given_up(
    stage: Stage, announced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    announced += ["starting another", "CRITICAL: no worker can be started"]
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stage.bury(stage.serve())
    stage.commands.errors += [NO_MEMORY] * 100
    while stage.crew.status is None:
        now[0] += 10
        stage.crew.act_in_time()

    assert stage.crew.status == 1
    assert stage.crew.wait_s() is None


def test_an_upgrade_that_cannot_be_started_is_refused(stage: Stage) -> None:
    stage.serve()
    stage.commands.errors.append(NO_MEMORY)
    petitioner = stage.petition()

    assert petitioner.refusal() == "no worker can be started: Cannot allocate memory"
    assert stage.crew.wait_s() is None


def test_a_mount_that_ends_meanwhile_is_not_upgraded(stage: Stage) -> None:
    old = stage.serve()
    petitioner = stage.petition()
    stage.bury(old, 0)
    status = stage.crew.status
    stage.crew.close()

    assert status == 0
    assert petitioner.answer() == {"refusal": "the mount has ended"}


@pytest.mark.usefixtures("_restarts_logged")
def test_an_upgrade_is_refused_when_there_is_nobody_to_succeed(stage: Stage) -> None:
    stage.bury(stage.serve())
    petitioner = stage.petition()

    assert "died just now" in petitioner.refusal()


def test_one_upgrade_at_a_time(stage: Stage) -> None:
    stage.serve()
    stage.petition()
    petitioner = stage.petition()

    assert "under way" in petitioner.refusal()


def test_an_upgrade_is_refused_without_resend(stage: Stage) -> None:
    stage.crew.start()
    stage.say(Word.PREPARED, Word.READY)
    petitioner = stage.petition()

    assert "Linux before 6.9" in petitioner.refusal()
