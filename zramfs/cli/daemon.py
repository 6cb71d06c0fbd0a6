"""Starting the process that serves a mount, and seeing it end."""

import os
import select
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

import zramfs
from zramfs.errors import MountRefused
from zramfs.mount.config import Config

_END_TIMEOUT_S: Final = 60
"""Giving tens of gigabytes back to the system takes seconds."""


def _command(config: Config) -> list[str]:
    # -P: root must not import what happens to lie in the current directory.
    return [sys.executable, "-P", "-m", "zramfs.mount.supervisor", config.to_json()]


def environment() -> dict[str, str]:
    """Return the environment in which a daemon finds this very package."""
    root = str(Path(zramfs.__file__).parent.parent)
    path = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path),
        # NumPy's linear algebra is not used; its threads would take memory.
        "OPENBLAS_NUM_THREADS": "1",
    }


def become(config: Config) -> NoReturn:
    """Become the process that serves the mount."""
    sys.stdout.flush()
    os.execve(sys.executable, _command(config), environment())


def start(config: Config) -> int:
    """Start serving in the background.

    Returns 0 when the mount is ready, or the exit status of a worker that has said
    on stderr why it cannot.
    """
    ready, theirs = os.pipe()
    worker = subprocess.Popen(
        _command(replace(config, ready_fd=theirs)),
        env=environment(),
        pass_fds=(theirs,),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        with os.fdopen(ready, "rb") as pipe:
            if pipe.read(1):
                return 0
        status = worker.wait()
    except KeyboardInterrupt:
        worker.terminate()
        worker.wait()
        raise
    if status < 0:
        name = signal.Signals(-status).name
        raise MountRefused(f"the worker was killed by {name} before it was ready")
    return status


def wait_end(pid: int, timeout_s: float = _END_TIMEOUT_S) -> None:
    """Return when process *pid* has ended; MountRefused if it takes too long."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        if not poll.poll(timeout_s * 1000):
            raise MountRefused(f"unmounted, but process {pid} has not ended")
    finally:
        os.close(process)
