"""zramfs.cli.daemon: starting the process that serves, and seeing it end."""

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

import zramfs
from tests.unit.cli.mounts import Commands
from zramfs.cli import daemon
from zramfs.errors import MountRefused
from zramfs.mount.config import Config

CONFIG = Config(
    mountpoint="/mnt/z",
    settings={"disksize": "1G"},
    data_path="lane",
    foreground=False,
    log_file=None,
)

SAY_READY = (
    'fd=$(echo "$4" | sed \'s/.*"ready_fd": \\([0-9]*\\).*/\\1/\')\n'
    "echo >/proc/self/fd/$fd\n"
)

# It lives on when its starter ends; so does its Popen, in a test.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* running:ResourceWarning")


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """A Python that is a script."""
    worker = Commands(tmp_path / "bin")
    monkeypatch.setattr(sys, "executable", str(worker.directory / "python"))
    return worker


def test_a_worker_that_is_ready_is_left_to_itself(worker: Commands) -> None:
    worker.install("python", SAY_READY)

    assert daemon.start(CONFIG) == 0


def test_a_worker_is_a_module_and_its_configuration(worker: Commands) -> None:
    worker.install("python", SAY_READY)

    daemon.start(CONFIG)

    [call] = worker.called()
    module, json = call.removeprefix("python ").split(" {", 1)
    assert module == "-P -m zramfs.mount.supervisor"
    config = Config.from_json("{" + json)
    assert config.settings == {"disksize": "1G"}
    assert config.ready_fd is not None


def test_a_worker_finds_the_package_and_starts_no_threads(
    worker: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/else/where")
    worker.install(
        "python", f'echo "$PYTHONPATH $OPENBLAS_NUM_THREADS" >>{worker.notes}'
    )

    daemon.start(CONFIG)

    root = Path(zramfs.__file__).parent.parent
    assert worker.called()[1] == f"{root}:/else/where 1"


def test_a_worker_has_no_input_and_a_session_of_its_own(worker: Commands) -> None:
    worker.install("python", f"readlink /proc/self/fd/0 >>{worker.notes}")

    daemon.start(CONFIG)

    assert worker.called()[1] == "/dev/null"


@pytest.mark.parametrize("status", [1, 3])
def test_a_worker_that_fails_has_its_status_passed_on(
    worker: Commands, status: int
) -> None:
    worker.install("python", f"exit {status}")

    assert daemon.start(CONFIG) == status


def test_a_worker_that_ends_without_a_word_is_done(worker: Commands) -> None:
    worker.install("python", "exit 0")

    assert daemon.start(CONFIG) == 0


@pytest.mark.parametrize("name", ["KILL", "SEGV", "TERM"])
def test_a_worker_that_is_killed_is_told(worker: Commands, name: str) -> None:
    worker.install("python", f"kill -{name} $$")

    with pytest.raises(MountRefused, match=f"killed by SIG{name} before it was ready"):
        daemon.start(CONFIG)


class Interrupted:
    """A pipe that Ctrl-C interrupts the reading of."""

    def __init__(self, fd: int, _mode: str) -> None:
        self._fd = fd

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def read(self, _size: int) -> bytes:
        raise KeyboardInterrupt


def test_ctrl_c_while_waiting_ends_the_worker(
    worker: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.install("python", f"echo $$ >{worker.notes}\nexec sleep 60")
    monkeypatch.setattr(os, "fdopen", Interrupted)

    # Returns at once, and leaves no process behind that could be waited for.
    with pytest.raises(KeyboardInterrupt):
        daemon.start(CONFIG)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_command_becomes_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, list[str], dict[str, str]]] = []

    def execve(path: str, words: list[str], environment: dict[str, str]) -> None:
        seen.append((path, words, environment))
        raise SystemExit

    monkeypatch.setattr(os, "execve", execve)

    with pytest.raises(SystemExit):
        daemon.become(CONFIG)

    [(path, words, environment)] = seen
    assert path == words[0] == sys.executable
    assert words[1:4] == ["-P", "-m", "zramfs.mount.supervisor"]
    assert Config.from_json(words[4]) == CONFIG
    assert environment["OPENBLAS_NUM_THREADS"] == "1"


def test_a_process_that_has_ended_is_not_waited_for() -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()

    daemon.wait_end(process.pid)


def test_a_process_is_waited_for() -> None:
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    assert process.stdin
    process.stdin.close()

    daemon.wait_end(process.pid)

    assert process.wait(0) == 0


def test_a_process_that_does_not_end_is_told() -> None:
    with pytest.raises(MountRefused, match=f"process {os.getpid()} has not ended"):
        daemon.wait_end(os.getpid(), timeout_s=0)
