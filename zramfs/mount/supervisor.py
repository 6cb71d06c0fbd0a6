"""The process that owns a mount, and sees to it that somebody serves it.

``python -m zramfs.mount.supervisor CONFIG`` makes the memory, mounts, and starts a
worker. It holds the descriptors of the memory, of /dev/fuse and of the backing
device, so that all of them outlive a worker: when one dies, another takes over
where it was (`crew`). It does nothing else, in as little memory as an interpreter
needs, all of it locked.

When that does not work any more it gives up: the connection is closed, so that
whoever uses the mount gets an error. The dead mount stays in its place, for people
and swapoff to see.
"""

import logging
import os
import selectors
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from zramfs.errors import ZramError, sentence
from zramfs.memory import MemFile
from zramfs.mount import session
from zramfs.mount.cgroups import leave_limits, memory_groups
from zramfs.mount.child import Child, Command
from zramfs.mount.config import Config
from zramfs.mount.crew import Crew
from zramfs.mount.hardening import harden
from zramfs.mount.holdings import Holdings
from zramfs.mount.logs import begin_log
from zramfs.mount.upgrade import Door

log = logging.getLogger("zramfs")

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_READ: Final = selectors.EVENT_READ


class Supervisor:
    """Waits for events, and tells the crew."""

    def __init__(self, config: Config, holdings: Holdings, command: Command) -> None:
        self._holdings = holdings
        self._selector = selectors.DefaultSelector()
        self.crew = Crew(config, holdings, command, self._watch)
        """The workers."""

    def run(self) -> int:
        """See to the mount until its end, and return the exit status."""
        self.crew.start()
        while self.crew.status is None:
            # One event at a time: what is done may be the end of others.
            for key, _ in self._selector.select(self.crew.wait_s())[:1]:
                key.data()
            self.crew.act_in_time()
        return self.crew.status

    def close(self) -> None:
        """End the workers, and the mount if it is not given up."""
        self.crew.close()
        self._selector.close()
        if not self.crew.is_given_up:
            self._holdings.unmount()

    def _watch(self, child: Child) -> None:
        self._selector.register(child.channel, _READ, partial(self._hear, child))
        self._selector.register(child.pidfd, _READ, partial(self._bury, child))

    def _hear(self, child: Child) -> None:
        message = child.channel.receive()
        if message:
            self.crew.take_message(child, message)
        else:  # its end comes by the pidfd
            self._selector.unregister(child.channel)

    def _bury(self, child: Child) -> None:
        while message := child.channel.receive():
            self.crew.take_message(child, message)
        self._selector.unregister(child.pidfd)
        with suppress(KeyError):
            self._selector.unregister(child.channel)
        self.crew.bury(child, child.end())

    def watch_signals(self, wakeup: socket.socket) -> None:
        """Act on the signals whose numbers arrive at *wakeup*."""
        self._selector.register(
            wakeup, _READ, lambda: self.crew.pass_on(wakeup.recv(100))
        )

    def watch_door(self, door: Door) -> None:
        """Take the wishes for an upgrade that arrive at *door*."""
        self._selector.register(door, _READ, partial(self._admit, door))

    def _admit(self, door: Door) -> None:
        petition = door.admit()
        if petition:
            self.crew.take_petition(petition)


@contextmanager
def _signals_caught() -> Iterator[socket.socket]:
    """Yield a socket at which SIGTERM and SIGINT arrive as bytes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)  # noqa: FBT003  # positional only
        signal.set_wakeup_fd(theirs.fileno())
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        yield ours
        signal.set_wakeup_fd(-1)


def run(config: Config) -> int:
    """Own the mount until its end; return the exit status."""
    session.check_mountpoint(Path(config.mountpoint))
    begin_log(config)
    harden()  # the worker reports what is refused
    _leave_limits()
    words = (sys.executable, "-P", "-m", "zramfs.mount.worker", config.to_json())
    command = Command(words=words, environment=dict(os.environ))
    # Its header, with the keys of the backing device, stays mapped here, and so locked
    # in memory while there is no worker.
    memory = MemFile()
    holdings = Holdings(mountpoint=Path(config.mountpoint), memory=memory.fd)
    with ExitStack() as stack:
        stack.callback(holdings.close)
        supervisor = Supervisor(config, holdings, command)
        stack.callback(supervisor.close)
        with suppress(OSError):  # then there are no upgrades
            supervisor.watch_door(stack.enter_context(Door()))
        supervisor.watch_signals(stack.enter_context(_signals_caught()))
        return supervisor.run()


def _leave_limits() -> None:
    """Leave, for all workers, the memory cgroup whose members they are to serve."""
    try:
        group = leave_limits(memory_groups())
    except OSError as error:
        log.warning("cannot leave the memory cgroup: %s", error)
        return
    if group:
        log.info("moved out of a limited memory cgroup, to %s", group.path)


def main() -> int:
    """Own the mount that the JSON in the command line describes."""
    try:
        return run(Config.from_json(sys.argv[1]))
    except (ZramError, OSError) as error:
        sys.stderr.write(f"zramfs: {sentence(error)}\n")
    except Exception:
        log.critical("the supervisor has failed", exc_info=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
