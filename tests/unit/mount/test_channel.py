"""zramfs.mount.channel: what a supervisor and its worker tell each other."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from zramfs.mount.channel import Channel, Message, Word

Pair = tuple[Channel, Channel]


@pytest.fixture
def ends() -> Iterator[Pair]:
    """The two ends of a channel."""
    ours, theirs = Channel.pair()
    with closing(ours), closing(theirs):
        yield ours, theirs


@pytest.mark.parametrize("word", Word)
def test_every_word_arrives(ends: Pair, word: Word) -> None:
    ours, theirs = ends

    ours.send(word, "a \0 b \udcff \u00fc")

    assert theirs.receive() == Message(word=word, text="a \0 b \udcff \u00fc")


def test_descriptors_arrive_in_their_order_and_are_not_inherited(ends: Pair) -> None:
    ours, theirs = ends
    pipe = os.pipe()

    ours.send(Word.TURN, fds=pipe)
    message = theirs.receive()

    assert message
    assert [os.fstat(fd).st_ino for fd in message.fds] == [
        os.fstat(fd).st_ino for fd in pipe
    ]
    assert not any(map(os.get_inheritable, message.fds))
    for fd in (*pipe, *message.fds):
        os.close(fd)


def test_messages_are_not_run_together(ends: Pair) -> None:
    ours, theirs = ends

    ours.send(Word.READY)
    ours.send(Word.CAUGHT_UP)

    heard = [theirs.receive(), theirs.receive()]
    assert heard == [Message(word=Word.READY), Message(word=Word.CAUGHT_UP)]


def test_an_end_that_has_died_is_heard(ends: Pair) -> None:
    ours, theirs = ends

    ours.send(Word.FAILED, "why")
    ours.close()

    assert theirs.receive() == Message(word=Word.FAILED, text="why")
    assert theirs.receive() is None


def test_an_end_that_died_with_something_unread_is_heard(ends: Pair) -> None:
    ours, theirs = ends

    theirs.send(Word.READY)
    ours.close()

    assert theirs.receive() is None


def test_nothing_is_said_to_the_dead(ends: Pair) -> None:
    ours, theirs = ends
    theirs.close()

    ours.send(Word.STOP)


def test_nobody_waits_for_an_end_that_does_not_listen(ends: Pair) -> None:
    ours, _ = ends

    def say_much() -> None:
        for _ in range(1 << 16):
            ours.send(Word.READY, "x" * 1000)

    with pytest.raises(BlockingIOError, match="unavailable"):
        say_much()


def test_an_adopted_end_is_not_inherited(ends: Pair) -> None:
    ours, _ = ends
    fd = os.dup(ours.fileno())
    os.set_inheritable(fd, True)  # noqa: FBT003  # positional only

    with closing(Channel.adopt(fd)) as adopted:
        assert not os.get_inheritable(adopted.fileno())
