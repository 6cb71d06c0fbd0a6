"""zramfs.cli.job: exit status, signals, and what a command is started with.

Each in a process of its own: there, signals are not those of the test run.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

SCRIPT = """
import os, sys
from zramfs.cli.job import prepared
from zramfs.errors import MountRefused

def prepare():
    {prepare}

try:
    with prepared(prepare, sys.argv[1:], os.environ | {{"ZRAM": "zram1"}}) as job:
        status = job.run()
except MountRefused as error:
    sys.exit(f"refused: {{error}}")
sys.exit(status)
"""


def words(command: tuple[str, ...], prepare: str = "pass") -> list[str]:
    return [sys.executable, "-c", SCRIPT.format(prepare=prepare), *command]


def run(*command: str, prepare: str = "pass") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words(command, prepare),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=15,
    )


@contextmanager
def running(script: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a shell's *script*, that has said "ready"."""
    process = subprocess.Popen(
        words(("sh", "-c", script)), stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=15)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -INT $$", 130),
    ],
)
def test_its_exit_status_is_that_of_the_command(script: str, status: int) -> None:
    assert run("sh", "-c", script).returncode == status


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("no-such-command", 127, "No such file or directory"),
        ("/no/such/command", 127, "No such file or directory"),
        ("/etc/passwd", 126, "Permission denied"),
        ("/", 126, "Permission denied"),
    ],
)
def test_what_cannot_be_run_has_the_status_that_a_shell_gives(
    command: str, status: int, said: str
) -> None:
    done = run(command)

    assert done.returncode == status
    assert done.stderr == f"zramfs: {command}: {said}\n"


def test_it_is_started_as_if_from_here() -> None:
    done = run("sh", "-c", 'echo "$ZRAM $PPID"; cat; ls /proc/self/fd')

    _, parent, *fds = done.stdout.split()
    assert done.stdout.startswith("zram1 ")
    assert int(parent) > 1
    assert fds == ["0", "1", "2", "3"]  # the last is that of ls


def test_signals_are_as_they_would_be_without_it() -> None:
    script = "grep -E '^Sig(Blk|Ign)' /proc/self/status"

    done = run("sh", "-c", script)

    plain = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == plain.stdout


def test_what_prepares_it_may_refuse() -> None:
    done = run("true", prepare="raise PermissionError(1, 'Not permitted', '/dev')")

    assert done.returncode == 1
    assert done.stderr == "refused: /dev: Not permitted\n"


def test_it_may_be_killed_before_it_is_anything() -> None:
    done = run("true", prepare="os.kill(os.getpid(), 9)")

    assert done.stderr == "refused: killed before the command was run\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_is_passed_on(number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'exit 5' {name}; echo ready; while :; do sleep 0.02; done"
    with running(script) as process:
        process.send_signal(number)

        assert process.wait(15) == 5


def test_it_ends_with_whoever_waits_for_it() -> None:
    with running("echo ready; exec sleep 100") as process:
        process.kill()
        process.wait(15)

        # The end of the pipe, which the command has open: it has been killed.
        assert process.stdout
        assert process.stdout.read() == ""


def test_when_it_stops_so_does_whoever_waits() -> None:
    with running("echo ready; kill -STOP $$; exit 3") as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

        process.send_signal(signal.SIGCONT)

        assert process.wait(15) == 3
