"""Leaving nothing behind, whoever is killed.

A command runs in a mount namespace of its own, by which all that it started is found.
When it has ended, this process kills what is left there and swaps off. Should this
process be killed, a guard does so: forked from it in a session of its own, it does
nothing but wait for the end of a pipe. Mounts go with the last process of the
namespace, and the loop device with the last descriptor for it.
"""

import ctypes
import errno
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

PROC: Final = Path("/proc")

_END_TIMEOUT_S: Final = 10.0
"""A process that is killed ends when what it is doing in the kernel does."""

_LOOK_S: Final = 0.1

_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a command may leave behind."""

    namespace: int
    """Inode of its mount namespace."""
    swap: Path | None
    """The device that may be swapped on, None if that is nobody's business."""

    def clean(self) -> str | None:
        """Take it down; return in a sentence what resists."""
        end_all(self.namespace)
        if self.swap is None or not _libc.swapoff(os.fsencode(self.swap)):
            return None
        # invariant: EINVAL is the answer for what is not swapped on.
        number = ctypes.get_errno()
        if number == errno.EINVAL:
            return None
        return f"{self.swap} stays swapped on: {os.strerror(number)}"


def namespace_of(pid: int, proc: Path = PROC) -> int:
    """Return the inode of the mount namespace of *pid*."""
    return (proc / str(pid) / "ns/mnt").stat().st_ino


def end_all(namespace: int, timeout_s: float = _END_TIMEOUT_S) -> None:
    """Kill all processes in the mount namespace *namespace*, and see them end."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with ExitStack() as stack:
            found = list(_processes_in(namespace, stack))
            if not found:
                return
            for process in found:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select(found, [], [], _LOOK_S)


def _processes_in(namespace: int, stack: ExitStack) -> Iterator[int]:
    """Yield a descriptor, left to *stack*, for each process in *namespace*."""
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # it has ended
                process = os.pidfd_open(int(entry.name))
                stack.callback(os.close, process)
                if namespace_of(int(entry.name)) == namespace:
                    yield process


@contextmanager
def guarded(clean: Callable[[], str | None], kept: int) -> Iterator[None]:
    """Do *clean* at the end, or let the guard do it; say what it returns.

    *kept* is a descriptor that the guard keeps open until then.
    """
    waiting, alive = os.pipe()
    guard = os.fork()
    if not guard:
        _guard(clean, waiting, kept)
    os.close(waiting)
    try:
        yield
    finally:
        said = clean()
        with suppress(BrokenPipeError):
            os.write(alive, b"\n")
        os.close(alive)
        with suppress(ChildProcessError):
            os.waitpid(guard, 0)
        if said:
            sys.stderr.write(f"zramfs: {said}\n")


def _guard(clean: Callable[[], str | None], waiting: int, kept: int) -> NoReturn:
    """Wait for the other process to be done, or to be no more."""
    try:
        # Out of reach of the terminal, and of whoever kills the process group.
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
        first = 3
        for fd in sorted((waiting, kept)):
            os.closerange(first, fd)
            first = fd + 1
        os.closerange(first, os.sysconf("SC_OPEN_MAX"))
        if not os.read(waiting, 1):
            clean()
    finally:
        os._exit(0)
