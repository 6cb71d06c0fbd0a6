"""zramfs.mount.lifeline: the worker's end of what ties it to its supervisor."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.unit.mount.overseer import Overseer
from zramfs.errors import MountRefused
from zramfs.mount.channel import Message, Word
from zramfs.mount.lifeline import Lifeline


@pytest.fixture
def overseer() -> Iterator[Overseer]:
    with closing(Overseer()) as overseer:
        yield overseer


@pytest.fixture
def lifeline(overseer: Overseer) -> Lifeline:
    return overseer.lifeline(generation=3)


def inode(fd: int) -> int:
    return os.fstat(fd).st_ino


def test_a_worker_gets_the_memory(overseer: Overseer, lifeline: Lifeline) -> None:
    assert inode(lifeline.memory) == inode(overseer.memory.fd)
    assert lifeline.generation == 3


def test_its_supervisor_is_who_started_it(lifeline: Lifeline) -> None:
    assert lifeline.supervisor_pid() == os.getppid()


def test_a_turn_brings_what_was_kept_by_name(
    overseer: Overseer, lifeline: Lifeline
) -> None:
    reader, writer = os.pipe()
    overseer.give_turn(overseer.memory.fd, backing_dev=reader, other=writer)
    turn = lifeline.wait_turn()

    kept = {name: inode(fd) for name, fd in turn.kept.items()}
    assert kept == {"backing_dev": inode(reader), "other": inode(writer)}
    assert inode(turn.connection) == inode(overseer.memory.fd)
    for fd in (reader, writer, turn.connection, *turn.kept.values()):
        os.close(fd)


def test_a_turn_may_bring_nothing(overseer: Overseer, lifeline: Lifeline) -> None:
    overseer.give_turn(overseer.memory.fd)
    turn = lifeline.wait_turn()
    os.close(turn.connection)

    assert turn.kept == {}


def test_a_supervisor_that_has_gone_gives_no_turn(
    overseer: Overseer, lifeline: Lifeline
) -> None:
    overseer.channel.close()

    with pytest.raises(MountRefused, match="the supervisor has gone"):
        lifeline.wait_turn()


def test_what_it_keeps_and_drops_is_told(
    overseer: Overseer, lifeline: Lifeline
) -> None:
    lifeline.keep("backing_dev", overseer.memory.fd)
    lifeline.drop("backing_dev")
    lifeline.tell(Word.CAUGHT_UP)
    kept, dropped, told = overseer.messages()

    assert (kept.word, kept.text) == (Word.KEEP, "backing_dev")
    assert inode(kept.fds[0]) == inode(overseer.memory.fd)
    os.close(kept.fds[0])
    assert dropped == Message(word=Word.DROP, text="backing_dev")
    assert told == Message(word=Word.CAUGHT_UP)


def test_a_worker_stops_when_it_is_told(overseer: Overseer, lifeline: Lifeline) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lifeline.listen, nursery.cancel_scope.cancel)
            await wait_all_tasks_blocked()
            overseer.channel.send(Word.STOP)

    trio.run(main)

    assert not lifeline.is_alone


def test_a_worker_goes_on_alone(
    overseer: Overseer, lifeline: Lifeline, announced: list[str]
) -> None:
    announced.append("WARNING: the supervisor has died")
    stopped: list[bool] = []
    overseer.channel.close()

    trio.run(lifeline.listen, lambda: stopped.append(True))
    lifeline.keep("backing_dev", overseer.memory.fd)  # nobody is left to hear it

    assert (lifeline.supervisor_pid(), stopped) == (0, [])
