"""zramfs.mount.worker: the process that serves a mount, within this one."""

import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyfuse3
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.unit.mount.rig import DevFuse, pair
from zramfs.core.device import Device
from zramfs.core.lifecycle import State
from zramfs.errors import DeviceBusy, InvalidValue, MountRefused
from zramfs.memory import MemFile
from zramfs.mount import loops, session, worker
from zramfs.mount.bio import Bio
from zramfs.mount.config import Config
from zramfs.mount.measures import Measure
from zramfs.mount.paths import PathStat
from zramfs.mount.safety import Safety
from zramfs.mount.server import Server
from zramfs.mount.watchdog import FaultWatch

CONFIG = Config(
    mountpoint="/mnt/z",
    settings={},
    data_path="lane",
    foreground=True,
    log_file=None,
)


def record(message: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("zramfs", level, __file__, 1, message, (), None)


def test_a_log_file_gets_lines_with_the_process(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with closing(worker.log_handler(replace(CONFIG, log_file=str(path)))) as handler:
        handler.handle(record("pages are lost", logging.WARNING))

    assert path.read_text() == f"zramfs[{os.getpid()}]: WARNING: pages are lost\n"


def test_a_daemon_in_the_foreground_logs_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    worker.log_handler(CONFIG).handle(record("serving"))

    assert capsys.readouterr().err.endswith(": INFO: serving\n")


def test_a_daemon_in_the_background_logs_to_the_system(tmp_path: Path) -> None:
    syslog = str(tmp_path / "log")
    config = replace(CONFIG, foreground=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system:
        system.bind(syslog)
        with closing(worker.log_handler(config, syslog)) as handler:
            handler.handle(record("serving"))

        assert b": INFO: serving" in system.recv(1000)


def test_without_a_system_log_nothing_is_logged(tmp_path: Path) -> None:
    config = replace(CONFIG, foreground=False)

    handler = worker.log_handler(config, str(tmp_path / "log"))

    assert isinstance(handler, logging.NullHandler)


def test_a_reply_that_came_too_late_is_no_news() -> None:
    handler = worker.log_handler(CONFIG)

    late = record(
        "fuse_reply_buf(): fuse_reply_* failed with No such file or directory"
    )

    assert not handler.filter(late)
    assert handler.filter(record("fuse_reply_* failed with Invalid argument"))


@pytest.fixture
def made() -> Iterator[list[Device]]:
    """Devices that are given back at the end."""
    devices: list[Device] = []
    yield devices
    for device in devices:
        device.reset()
        assert isinstance(device._memory, MemFile)
        os.close(device._memory.fd)


def test_a_device_is_made_with_its_settings(made: list[Device]) -> None:
    settings = {"disksize": "1M", "comp_algorithm": "zstd", "mem_limit": "64K"}

    device = worker.make_device(settings)
    made.append(device)

    assert (device.disksize, device.algorithms[0]) == (1 << 20, "zstd")
    assert device.mem_limit == 1 << 16


def test_a_device_without_settings_is_bare(made: list[Device]) -> None:
    device = worker.make_device({"rw_page": "off"})
    made.append(device)

    assert device.state is State.BARE


def test_a_setting_that_the_device_refuses_is_refused() -> None:
    with pytest.raises(InvalidValue, match="no algorithm 'rar'"):
        worker.make_device({"comp_algorithm": "rar"})


@dataclass(slots=True)
class World:
    """What a worker meets, as far as a test wants it to."""

    monkeypatch: pytest.MonkeyPatch
    ended: list[str] = field(default_factory=list)

    def terminate(self) -> None:
        self.ended.append("terminated")

    def attach(self, *names: Path) -> None:
        self.monkeypatch.setattr(loops, "loops_on", lambda _: list(names))


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No service manager, and a working directory to leave."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def world(_here: None, monkeypatch: pytest.MonkeyPatch) -> World:
    """No loop devices, and a libfuse that notes when it is to end."""
    world = World(monkeypatch)
    world.attach()
    monkeypatch.setattr(pyfuse3, "terminate", world.terminate)
    return world


def test_whoever_started_it_is_told_when_it_is_ready(world: World) -> None:
    ready, theirs = os.pipe()

    worker._tell_ready(replace(CONFIG, ready_fd=theirs))

    with os.fdopen(ready, "rb") as pipe:
        assert pipe.read() == b"\n"
    assert Path.cwd() == Path("/")
    assert world.ended == []


@pytest.mark.usefixtures("world")
def test_a_starter_that_has_gone_ends_the_mount() -> None:
    ready, theirs = os.pipe()
    os.close(ready)

    with pytest.raises(MountRefused, match="whoever started this mount has gone"):
        worker._tell_ready(replace(CONFIG, ready_fd=theirs))

    os.close(theirs)


@pytest.mark.usefixtures("world")
def test_the_service_manager_is_told_which_process_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        worker._tell_ready(CONFIG)

        assert manager.recv(100) == f"READY=1\nMAINPID={os.getpid()}".encode()


@pytest.mark.usefixtures("world")
def test_a_service_manager_that_is_not_there_is_but_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, announced: list[str]
) -> None:
    announced.append("the service manager cannot be told: .*No such file")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))

    worker._tell_ready(CONFIG)


@pytest.mark.usefixtures("world")
def test_a_daemon_lets_go_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced: list[tuple[str, int]] = []

    def dup2(fd: int, fd2: int) -> None:
        replaced.append((str(Path(f"/proc/self/fd/{fd}").readlink()), fd2))

    monkeypatch.setattr(os, "dup2", dup2)

    worker._tell_ready(replace(CONFIG, foreground=False))

    assert replaced == [("/dev/null", 0), ("/dev/null", 1), ("/dev/null", 2)]


async def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    await wait_all_tasks_blocked()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_mount(
    world: World, number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(worker._end_on_signal, Path("/mnt/z"))
            await send(number)

    caplog.set_level("INFO")
    trio.run(main)

    assert world.ended == ["terminated"]
    assert caplog.messages == [f"{number.name}: unmounting /mnt/z"]


def test_a_signal_is_ignored_while_a_loop_device_stands_on_it(
    world: World, announced: list[str]
) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(worker._end_on_signal, Path("/mnt/z"))
            await send(signal.SIGTERM)
            nursery.cancel_scope.cancel()

    world.attach(Path("/dev/loop3"))
    announced.append(
        "SIGTERM ignored: /dev/loop3 is attached; .*'zramfs swapoff /mnt/z'"
    )
    trio.run(main)

    assert world.ended == []


def test_a_later_signal_ends_it_when_the_loop_device_has_gone(
    world: World, announced: list[str]
) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(worker._end_on_signal, Path("/mnt/z"))
            await send(signal.SIGTERM)
            world.attach()
            await send(signal.SIGTERM)

    world.attach(Path("/dev/loop3"))
    announced.append("SIGTERM ignored")
    trio.run(main)

    assert world.ended == ["terminated"]


class Brief(Server):
    """A server that has served."""

    async def serve(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.usefixtures("world")
def test_serving_ends_the_wait_for_signals(device: Device) -> None:
    safety = Safety(Path("/mnt/z"), faults=FaultWatch())
    bio = Bio(device, PathStat())
    server = Brief(device=device, bio=bio, lane=None, safety=safety)

    trio.run(worker._serve, Path("/mnt/z"), CONFIG, server)

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def run_main(config: Config, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["worker", config.to_json()])
    return worker.main()


def test_a_mountpoint_that_is_missing_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(CONFIG, mountpoint="/no/where")

    assert run_main(config, monkeypatch) == 1
    assert capsys.readouterr().err == (
        "zramfs: /no/where does not exist: create it first\n"
    )


@pytest.mark.parametrize(
    ("error", "sentences"),
    [
        (MountRefused("no"), ["zramfs: no"]),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "/x"),
            ["zramfs: /x: No such file"],
        ),
        (
            ExceptionGroup(
                "", [DeviceBusy("a"), ExceptionGroup("", [DeviceBusy("b")])]
            ),
            ["zramfs: a", "zramfs: b"],
        ),
    ],
    ids=["refusal", "system", "groups"],
)
def test_a_deliberate_end_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    sentences: list[str],
) -> None:
    def fail(_: Config) -> None:
        raise error

    monkeypatch.setattr(worker, "run", fail)

    assert run_main(CONFIG, monkeypatch) == 1
    assert capsys.readouterr().err.splitlines() == sentences


def test_an_unexpected_end_is_logged_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
    announced: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: Config) -> None:
        raise ExceptionGroup("", [KeyError("what"), DeviceBusy("busy")])

    announced.append("CRITICAL: the mount has ended")
    monkeypatch.setattr(worker, "run", fail)

    assert run_main(CONFIG, monkeypatch) == 1
    assert "KeyError: 'what'" in caplog.text


@pytest.mark.usefixtures("_here")
def test_a_worker_serves_until_the_mount_has_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, announced: list[str]
) -> None:
    refused = Measure(name="mlockall", refusal="not now", consequence="swapping")
    granted = Measure(name="oom_score_adj", refusal=None, consequence="")
    end, connection = pair()
    dev_fuse = DevFuse(connection, end, monkeypatch)
    dev_fuse.read_errors = [errno.ENODEV]
    monkeypatch.setattr(worker, "harden", lambda: [refused, granted])
    monkeypatch.setattr(session, "connect", lambda _: connection.detach())
    announced.append("mlockall: refused .not now.: swapping")
    config = replace(CONFIG, mountpoint=str(tmp_path), settings={"disksize": "1M"})

    with closing(end):
        status = run_main(config, monkeypatch)

    assert status == 0


@pytest.mark.usefixtures("_here")
def test_a_worker_that_cannot_mount_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Path) -> int:
        raise MountRefused("no more mounts")

    monkeypatch.setattr(worker, "harden", list)
    monkeypatch.setattr(session, "connect", refuse)

    assert run_main(replace(CONFIG, mountpoint=str(tmp_path)), monkeypatch) == 1
    assert capsys.readouterr().err == "zramfs: no more mounts\n"
