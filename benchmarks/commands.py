"""Running programs with a hard timeout, and failing in a sentence."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.integration.commands import ROOT, SEARCH_PATH, environment

ZRAMFS: Final = (sys.executable, "-P", "-m", "zramfs")

TIMEOUT_S: Final = 60.0

_DEATH_S: Final = 5.0
"""How long what was killed may take."""


class BenchError(Exception):
    """The benchmark cannot go on; the message is the sentence to print."""


def find(name: str) -> str | None:
    """Return the path of a program, None if it is not installed."""
    return shutil.which(name, path=SEARCH_PATH)


def why_missing(name: str, package: str) -> str | None:
    """Return why a program cannot be used, None if it can."""
    return None if find(name) else f"{name} is missing: apt-get install {package}"


def run(
    *command: str | Path,
    timeout_s: float = TIMEOUT_S,
    extra: Mapping[str, str] | None = None,
    unstick: Callable[[], None] | None = None,
) -> str:
    """Run *command* and return its stdout; BenchError if it fails or hangs.

    *unstick* is for what waits in the kernel and cannot be killed.
    """
    words = [str(word) for word in command]
    process = subprocess.Popen(
        words,
        env=environment(extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A Ctrl-C is for us: we end everything, in the order in which it can end.
        start_new_session=True,
    )
    try:
        said, complained = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{words[0]} took more than {timeout_s:.0f} s") from None
    finally:
        end(process, unstick)
    if process.returncode:
        sentence = complained.strip() or f"exit status {process.returncode}"
        raise BenchError(f"{' '.join(words)}: {sentence}")
    return said


def end(
    process: subprocess.Popen[str], unstick: Callable[[], None] | None = None
) -> None:
    """Kill *process* if it has not ended; do not wait for ever."""
    if process.poll() is not None:
        return
    process.kill()
    try:
        process.wait(_DEATH_S)
    except subprocess.TimeoutExpired:
        if unstick:
            unstick()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_DEATH_S)


def revision() -> str:
    """Return which commit of zramfs this is."""
    try:
        return run("git", "-C", ROOT, "describe", "--always", "--dirty").strip()
    except (BenchError, OSError):
        return "unknown"
