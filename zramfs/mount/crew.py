"""The workers of one mount: who serves, who is to, and what follows from a death.

    starting --READY--> serving --unmounted: the worker ends with 0--> end
        |                | ^  |
        | worker ends    | |  +--died too often--> given up
        v          died  | | READY
       end               v |
                       restarting

An upgrade has another worker prepare while the first still serves (`succession`).
Nothing here waits: the supervisor says what has happened.
"""

import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from zramfs.errors import MountRefused
from zramfs.mount.channel import Message, Word
from zramfs.mount.child import Child, Command
from zramfs.mount.config import Config
from zramfs.mount.holdings import Holdings
from zramfs.mount.notify import tell_ready
from zramfs.mount.restarts import Restarts
from zramfs.mount.succession import Succession
from zramfs.mount.upgrade import Petition

log = logging.getLogger("zramfs")

_STDERR: Final = 2

_ACT_S: Final = 1.0
"""So long a signal that a worker has got may not have come to anything."""

_WHY_LOST: Final = "Linux before 6.9, or --data-path pyfuse3, sends no request again"


class Crew:
    """Starts workers by *command*, and shows each to *watch* for its events."""

    def __init__(
        self,
        config: Config,
        holdings: Holdings,
        command: Command,
        watch: Callable[[Child], None],
    ) -> None:
        self._config = config
        self._holdings = holdings
        self._command = command
        self._watch = watch
        self._restarts = Restarts()
        # How many workers there have been.
        self._generation = 0
        # The worker that serves, or is to; None between two of them.
        self._current: Child | None = None
        # Who is to take its place.
        self._succession: Succession | None = None
        # When to start the next one, if there is none.
        self._restart_due_s: float | None = None
        # Whether the kernel can be asked again for what a dead worker has read.
        self._is_restartable = False
        # Whether the mount was ready once.
        self._is_ready = False
        # Signals that the worker gets when it serves.
        self._signals: deque[int] = deque()
        # The one that it got last, and when.
        self._passed_on: tuple[int, float] | None = None
        self.status: int | None = None
        """The exit status of it all, once there is one."""
        self.is_given_up = False
        """Whether the mount is left as it is, dead."""

    def start(self) -> None:
        """Start the next worker."""
        self._restart_due_s = None
        self._current = self._command.start(self._holdings.memory, self._generation)
        self._generation += 1
        self._watch(self._current)

    def wait_s(self) -> float | None:
        """Return how long nothing is to be done unless something happens."""
        due = [self._restart_due_s]
        if self._succession:
            due.append(self._succession.deadline_s)
        moments = [moment for moment in due if moment is not None]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def act_in_time(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        if self._restart_due_s is not None and now >= self._restart_due_s:
            self._restart()
        succession = self._succession
        if succession and now >= succession.deadline_s:
            slow = self._current if succession.is_stopping else succession.child
            if slow:
                slow.kill()
            succession.extend()

    def _restart(self) -> None:
        """Start the next worker; no memory for it is a death like any other."""
        try:
            self.start()
        except OSError as error:
            self._plan_restart(f"no worker can be started ({error.strerror})")

    def pass_on(self, signals: Iterable[int]) -> None:
        """Let the worker have *signals*, now or when it serves."""
        self._signals.extend(signals)
        if self._is_ready:
            self._deliver_signals()
        else:
            self.status = 128 + self._signals[0]

    def _deliver_signals(self) -> None:
        while self._signals and self._current and self._current.is_serving:
            number = self._signals.popleft()
            self._current.send_signal(number)
            self._passed_on = number, time.monotonic()

    def _take_back_signal(self) -> None:
        """Keep for the next worker what the one that died can hardly have acted on."""
        if self._passed_on:
            number, when_s = self._passed_on
            if time.monotonic() - when_s < _ACT_S:
                self._signals.appendleft(number)
            self._passed_on = None

    def take_petition(self, petition: Petition) -> None:
        """Start a worker of another program, or refuse to."""
        if why := self._why_not_now():
            petition.refuse(why)
            return
        config, memory = self._config.to_json(), self._holdings.memory
        generation = self._generation
        try:
            self._succession = Succession.begin(petition, config, memory, generation)
        except OSError as error:
            petition.refuse(f"no worker can be started: {error.strerror}")
            return
        self._generation += 1
        self._watch(self._succession.child)

    def _why_not_now(self) -> str:
        if self._succession:
            return "another upgrade is under way"
        if not self._is_restartable:
            return _WHY_LOST
        if not self._current or not self._current.is_serving:
            return "its worker has died just now; try again"
        return ""

    def take_message(self, child: Child, message: Message) -> None:
        """Take one message of *child*'s."""
        match message.word:
            case Word.PREPARED:
                self._note_prepared(child)
            case Word.READY:
                self._note_ready(child)
            case Word.RESTARTABLE:
                self._is_restartable = True
            case Word.CAUGHT_UP:
                child.has_caught_up = True
            case Word.KEEP | Word.DROP:
                self._hold(message)
            case Word.FAILED:
                child.failure = message.text
            case Word.START | Word.TURN | Word.STOP:
                raise AssertionError(f"a worker said {message}")

    def _hold(self, message: Message) -> None:
        if message.word is Word.KEEP:
            self._holdings.keep(message.text, message.fds[0])
        else:
            self._holdings.drop(message.text)

    def _note_prepared(self, child: Child) -> None:
        child.is_prepared = True
        if child is self._current:
            self._give_turn(child)
            return
        # invariant: whoever is prepared and not the current worker is to succeed it.
        assert self._succession, child
        if self._current and not child.is_killed:
            self._succession.stop(self._current)

    def _give_turn(self, child: Child) -> None:
        # The first worker has itself what it asked to be kept.
        kept = self._holdings.kept if self._is_ready else {}
        fds = (self._holdings.connect(), _STDERR, *kept.values())
        child.channel.send(Word.TURN, "\0".join(kept), fds)

    def _note_ready(self, child: Child) -> None:
        child.is_serving = True
        if self._is_ready:
            age_s = child.life_s
            log.info("worker %d serves, %.2f s after its start", child.pid, age_s)
        else:
            self._is_ready = True
            child.has_caught_up = True  # with nobody
            tell_ready(self._config)
        if self._succession and self._succession.child is child:
            self._command = child.command
            self._succession.petition.grant(child.pid)
            self._end_succession()
        self._deliver_signals()

    def bury(self, child: Child, status: int) -> None:
        """See what follows from *child*, which ended with *status*."""
        succession = self._succession
        if succession and child is succession.child:
            why = succession.why_failed(_end(status))
            log.warning("no upgrade: %s", why)
            succession.petition.refuse(why)
            self._end_succession()
        if child is not self._current:
            return
        self._current = None
        if status == 0 and not child.is_stopping:
            self.status = 0  # unmounted
        elif self._succession:
            self._promote(self._succession.child)
        elif self._is_ready:
            self._replace(child, status)
        elif status > 0:  # it has said why
            self.status = status
        else:
            raise MountRefused(f"the worker {_end(status)} before it was ready")

    def _promote(self, child: Child) -> None:
        """Make *child* the worker, now that there is none."""
        self._current = child
        if child.is_prepared:
            self._give_turn(child)

    def _replace(self, child: Child, status: int) -> None:
        """Have another worker in the place of *child*, now or later or never."""
        what = f"worker {child.pid} {_end(status)}"
        if not self._is_restartable:
            self._give_up(f"{what}, and what it had read is lost: {_WHY_LOST}")
            return
        self._take_back_signal()
        self._plan_restart(
            what, caught_up=child.has_caught_up, status=status, life_s=child.life_s
        )

    def _plan_restart(
        self, what: str, *, caught_up: bool = False, status: int = 1, life_s: float = 0
    ) -> None:
        """Say when the next worker is due after *what* has happened, if one is."""
        pause_s = self._restarts.after(
            caught_up=caught_up, status=status, life_s=life_s
        )
        if pause_s is None:
            self._restart_due_s = None
            self._give_up(f"{what}, as {self._restarts.failures - 1} before it did")
            return
        log.warning("%s: starting another", what)
        self._restart_due_s = time.monotonic() + pause_s

    def _give_up(self, why: str) -> None:
        path = self._config.mountpoint
        log.critical("%s; %s is dead, 'zramfs umount %s' removes it", why, path, path)
        self.status = 1
        self.is_given_up = True

    def _end_succession(self) -> None:
        if self._succession:
            self._succession.close()
            self._succession = None

    def close(self) -> None:
        """End the workers that there are."""
        if self._succession:
            self._succession.petition.refuse("the mount has ended")
            if self._succession.child is not self._current:
                self._succession.child.end()
            self._end_succession()
        if self._current:
            self._current.end()


def _end(status: int) -> str:
    """Say how a process ended."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"
