"""The worker's end of what ties it to its supervisor."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import trio

from zramfs.errors import MountRefused
from zramfs.mount.channel import Channel, Message, Word

log = logging.getLogger(__name__)

_STDERR: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a worker gets when it is its turn to serve."""

    connection: int
    """/dev/fuse."""
    kept: Mapping[str, int]
    """Descriptors that workers before it have left to it, by name."""


class Lifeline:
    """What a worker hears from its supervisor, and lets it know."""

    __slots__ = ("_channel", "_supervisor", "generation", "is_alone", "memory")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._supervisor = os.getppid()
        start = self._expect(Word.START)
        self.generation = int(start.text)
        """How many workers the mount had before."""
        (self.memory,) = start.fds
        """The descriptor of the device's memory."""
        self.is_alone = False
        """Whether the supervisor has died."""

    def _expect(self, word: Word) -> Message:
        message = self._channel.receive()
        if message is None:
            raise MountRefused("the supervisor has gone")
        # invariant: a supervisor keeps to the order of the module `channel`.
        assert message.word is word, message
        return message

    def supervisor_pid(self) -> int:
        """Return the supervisor's process; 0 if it has died."""
        return 0 if self.is_alone else self._supervisor

    def wait_turn(self) -> Turn:
        """Say that all is prepared, and wait for the turn to serve."""
        self._channel.send(Word.PREPARED)
        message = self._expect(Word.TURN)
        connection, stderr, *kept = message.fds
        os.dup2(stderr, _STDERR)
        os.close(stderr)
        names = message.text.split("\0") if kept else []
        return Turn(connection=connection, kept=dict(zip(names, kept, strict=True)))

    def tell(self, word: Word, text: str = "") -> None:
        """Let the supervisor know *word*."""
        self._channel.send(word, text)

    def keep(self, name: str, fd: int) -> None:
        """Let *fd* outlive this worker; its successors find it under *name*."""
        self._channel.send(Word.KEEP, name, (fd,))

    def drop(self, name: str) -> None:
        """Let what was kept under *name* go when this worker closes it."""
        self._channel.send(Word.DROP, name)

    async def listen(self, stop: Callable[[], None]) -> None:
        """Call *stop* when the supervisor wants another worker to go on.

        Either listens until the supervisor dies, or raises Cancelled.
        """
        while True:
            await trio.lowlevel.wait_readable(self._channel.fileno())
            message = self._channel.receive()
            if message is None:
                break
            if message.word is Word.STOP:
                stop()
        self.is_alone = True
        log.warning(
            "the supervisor has died: nobody takes over if this process dies, too"
        )
