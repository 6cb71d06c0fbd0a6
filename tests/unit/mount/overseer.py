"""A supervisor that is the test: the other end of a worker's channel."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from zramfs.memory import MemFile
from zramfs.mount.channel import Channel, Message, Word
from zramfs.mount.lifeline import Lifeline

_STDERR = 2


class Overseer:
    """Starts a worker that runs in this process."""

    def __init__(self) -> None:
        end, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel = Channel(end)
        self.memory = MemFile()

    def close(self) -> None:
        self.channel.close()
        self.theirs.close()
        os.close(self.memory.fd)

    def start(self, generation: int = 0) -> None:
        self.channel.send(Word.START, str(generation), (self.memory.fd,))

    def lifeline(self, generation: int = 0) -> Lifeline:
        """Return what a worker in this process is tied by."""
        self.start(generation)
        return Lifeline(Channel(self.theirs))

    def give_turn(self, connection: int, **kept: int) -> None:
        fds = (connection, _STDERR, *kept.values())
        self.channel.send(Word.TURN, "\0".join(kept), fds)

    def wait_for(self, word: Word) -> Message:
        """Return the next message that is *word*."""
        while message := self.channel.receive():
            if message.word is word:
                return message
        raise AssertionError(f"no {word}")

    def stop_when_ready(self) -> threading.Thread:
        """Tell the worker to end as soon as it serves."""

        def run() -> None:
            self.wait_for(Word.READY)
            self.channel.send(Word.STOP)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def messages(self) -> list[Message]:
        """Return what the worker, which has ended, has said last."""
        self.theirs.close()
        return [*iter(self.channel.receive, None)]


@contextmanager
def unchanged_signals() -> Iterator[None]:
    """Let what a worker does to its signals be undone."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
