"""Running a command in the foreground: its terminal, its signals, its exit status.

The command stays in the process group that it is called from, so what the terminal
sends, ^C and ^Z among others, comes to it directly; only what a process sends to this
one is passed on. When it stops, this one stops, too, so that the shell takes over.
"""

import ctypes
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NoReturn

from zramfs.errors import MountRefused, ZramError, sentence

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h

_NOT_FOUND: Final = 127  # as a shell says it
_NOT_RUN: Final = 126

_READY: Final = b"\n"

_FAULTS: Final = {
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP),
    *(signal.SIGABRT, signal.SIGSYS),
}
"""What a process does to itself: never passed on."""

_SIGNALS: Final = signal.valid_signals() - _FAULTS

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Job:
    """A process that is ready to become a command, and then is."""

    def __init__(self, pid: int, go: int) -> None:
        self.pid = pid
        self._go = go
        self._has_ended = False

    def run(self) -> int:
        """Let it become the command, see it end, and return its exit status."""
        os.write(self._go, b"\n")
        while True:
            info = signal.sigwaitinfo(_SIGNALS)
            if info.si_signo == signal.SIGCHLD:
                status = self._look()
                if status is not None:
                    return status
            elif info.si_code <= 0:  # from a process; the terminal's are the kernel's
                os.kill(self.pid, info.si_signo)

    def _look(self) -> int | None:
        """Return the exit status, None if it has not ended."""
        pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
        if not pid:
            return None
        if os.WIFSTOPPED(status):
            os.kill(os.getpid(), signal.SIGSTOP)
            os.kill(self.pid, signal.SIGCONT)
            return None
        self._has_ended = True
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def end(self) -> None:
        """Kill it if it has not ended."""
        os.close(self._go)
        if not self._has_ended:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@contextmanager
def prepared(
    prepare: Callable[[], None], command: list[str], environment: Mapping[str, str]
) -> Iterator[Job]:
    """Fork a process that has done *prepare*, and waits to become *command*.

    MountRefused with what *prepare* raises. It is killed when this process is.
    Meanwhile this process takes no signals but in `Job.run`.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    ready, said = os.pipe()
    waiting, go = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        os.close(go)
        if _is_prepared(prepare, parent, said) and os.read(waiting, 1):
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            _become(command, environment)
        os._exit(1)
    os.close(said)
    os.close(waiting)
    job = Job(pid, go)
    try:
        with os.fdopen(ready, "rb") as pipe:
            answer = pipe.readline()
        if answer != _READY:
            raise MountRefused(answer.decode() or "killed before the command was run")
        yield job
    finally:
        job.end()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _is_prepared(prepare: Callable[[], None], parent: int, said: int) -> bool:
    """Do *prepare*, tell *said* how it went, and return whether it went well."""
    answer = _READY
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            return False
        prepare()
    except (ZramError, OSError) as error:
        answer = sentence(error).encode()
    os.write(said, answer)
    return answer == _READY


def _become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Become *command*, with the signals that Python ignores as they were."""
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        os.write(2, f"zramfs: {command[0]}: {error.strerror}\n".encode())
        is_missing = isinstance(error, FileNotFoundError)
    os._exit(_NOT_FOUND if is_missing else _NOT_RUN)
