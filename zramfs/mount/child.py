"""One worker, as the supervisor that started it sees it."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from zramfs.mount.channel import Channel, Word

_END_S = 10.0


@dataclass(slots=True, kw_only=True, eq=False)
class Child:
    """A worker's process."""

    process: subprocess.Popen[bytes]
    channel: Channel
    pidfd: int
    """Readable when it has ended."""
    command: "Command"
    is_prepared: bool = False
    """It waits for its turn."""
    is_serving: bool = False
    """It had its turn, and is ready."""
    is_stopping: bool = False
    """It has been told to end, though the mount goes on."""
    has_caught_up: bool = False
    """It has taken what the worker before it left."""
    is_killed: bool = False
    """Patience with it has ended; what it said before does not count."""
    failure: str = ""
    """Why it ended, as it said."""
    started_s: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    @property
    def life_s(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self.started_s

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def kill(self) -> None:
        """Kill it; its end is an event like any other."""
        self.is_killed = True
        self.process.kill()

    def end(self) -> int:
        """Kill it if it runs, and return its exit status."""
        self.process.kill()
        status = self.process.wait(_END_S)
        os.close(self.pidfd)
        self.channel.close()
        return status


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How workers are started: which program, and in which environment."""

    words: Sequence[str]
    environment: Mapping[str, str]

    def start(self, memory: int, generation: int, stderr: int | None = None) -> Child:
        """Start a worker that is to use *memory*, the *generation*th from 0 on."""
        ours, theirs = Channel.pair()
        process = subprocess.Popen(
            [*self.words, str(theirs.fileno())],
            env=self.environment,
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stderr=stderr,
            # Ctrl-C is for the supervisor, which passes it on.
            start_new_session=True,
        )
        theirs.close()
        ours.send(Word.START, str(generation), (memory,))
        pidfd = os.pidfd_open(process.pid)
        return Child(process=process, channel=ours, pidfd=pidfd, command=self)
