"""Workers that are no processes, for a crew that does not know."""

import itertools
import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from zramfs.mount.channel import Channel, Message, Word
from zramfs.mount.child import Child, Command
from zramfs.mount.upgrade import Petition, Program

_pids = itertools.count(1000)


@dataclass(slots=True, kw_only=True, eq=False)
class FakeChild(Child):
    """A worker as its supervisor sees it."""

    number: int = field(default_factory=lambda: next(_pids))
    signals: list[int] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.number

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def kill(self) -> None:
        self.is_killed = True
        self.signals.append(signal.SIGKILL)

    def end(self) -> int:
        os.close(self.pidfd)
        self.channel.close()
        return 0


class Worker:
    """The other side of it, which is the test's."""

    def __init__(self, command: Command, memory: int, generation: int) -> None:
        ours, self.channel = Channel.pair()
        self.child = FakeChild(
            # Never looked at: whatever is done with a process is done above.
            process=subprocess.Popen.__new__(subprocess.Popen),
            channel=ours,
            pidfd=os.open(os.devnull, os.O_RDONLY),
            command=command,
        )
        ours.send(Word.START, str(generation), (memory,))

    @property
    def signals(self) -> list[int]:
        return self.child.signals

    def receive(self, word: Word) -> Message:
        """Return what it is told, which must be *word*."""
        message = self.channel.receive()
        assert message
        assert message.word is word
        return message

    def said_to(self) -> list[Word]:
        """Return all that it has been told and did not look at yet."""
        os.set_blocking(self.channel.fileno(), False)
        return [message.word for message in _waiting(self.channel)]

    def said(self) -> list[Message]:
        """Return all that it has said and nobody took yet."""
        os.set_blocking(self.child.channel.fileno(), False)
        return _waiting(self.child.channel)

    def close(self) -> None:
        self.channel.close()


def _waiting(channel: Channel) -> list[Message]:
    messages = []
    try:
        while message := channel.receive():
            messages.append(message)
    except BlockingIOError:
        pass
    return messages


class Commands:
    """What starts such workers, and all that it has started."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self.errors: list[OSError] = []
        self.command = FakeCommand(words=(), environment={}, commands=self)

    @property
    def last(self) -> Worker:
        return self.workers[-1]

    def start(self, command: Command, memory: int, generation: int) -> Child:
        if self.errors:
            raise self.errors.pop()
        self.workers.append(Worker(command, memory, generation))
        return self.last.child

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeCommand(Command):
    """Starts such a worker."""

    commands: Commands

    def start(self, memory: int, generation: int, stderr: int | None = None) -> Child:
        assert stderr is None
        return self.commands.start(self, memory, generation)


class Petitioner:
    """Somebody who wants an upgrade."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(0)
        self.petition = Petition(theirs, Program(executable="python", path="/new"))

    def answer(self) -> Mapping[str, str | int]:
        """Return what it is told; it does not wait for that."""
        answer: Mapping[str, str | int] = json.loads(self._socket.recv(4096))
        return answer

    def close(self) -> None:
        self._socket.close()

    def refusal(self) -> str:
        return str(self.answer()["refusal"])
