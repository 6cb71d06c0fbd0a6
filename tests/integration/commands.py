"""Running programs, each with a hard timeout."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
"""The repository, which holds the package under test."""

SEARCH_PATH: Final = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
"""Ordinary users do not have mkfs and losetup on theirs."""

ZRAMFS: Final = (sys.executable, "-m", "zramfs")

TIMEOUT_S: Final = 60.0

Argument = str | Path


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which the package is found from any directory."""
    # NOTIFY_SOCKET of whoever runs the tests is not for the daemons under test.
    inherited = {
        name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"
    }
    return {
        **inherited,
        "PATH": SEARCH_PATH,
        "PYTHONPATH": str(ROOT),
        **(extra or {}),
    }


def run(
    *command: Argument,
    ok: Iterable[int] = (0,),
    extra: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Run *command* and return its stdout; its exit status must be one of *ok*."""
    done = attempt(*command, extra=extra, timeout_s=timeout_s)
    assert done.returncode in ok, (
        f"{' '.join(map(str, command))}: exit status {done.returncode}\n"
        f"{done.stdout}{done.stderr}"
    )
    return done.stdout


def attempt(
    *command: Argument,
    extra: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> subprocess.CompletedProcess[str]:
    """Run *command* and return what became of it."""
    return subprocess.run(
        command,
        capture_output=True,
        check=False,
        env=environment(extra),
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=timeout_s,
    )


@contextmanager
def running(*command: Argument) -> Iterator[subprocess.Popen[str]]:
    """Run *command* beside the test; it is killed if it has not ended by then."""
    with subprocess.Popen(
        command,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            process.wait(TIMEOUT_S)


def zramfs(*arguments: Argument, timeout_s: float = TIMEOUT_S) -> str:
    """Run a command of zramfs that must succeed, and return its stdout."""
    return run(*ZRAMFS, *arguments, timeout_s=timeout_s)


def refused(
    *arguments: Argument, status: int = 1, extra: Mapping[str, str] | None = None
) -> str:
    """Run a command of zramfs that must fail with *status*; return its sentence."""
    return the_sentence(attempt(*ZRAMFS, *arguments, extra=extra), status)


def the_sentence(done: subprocess.CompletedProcess[str], status: int) -> str:
    """Return the one line on stderr of what failed with *status* as documented."""
    assert (done.returncode, done.stdout) == (status, ""), done
    lines = done.stderr.splitlines()
    if status == 2:  # argparse prints the usage first
        lines = lines[-1:]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("zramfs"), lines
    return lines[0]
