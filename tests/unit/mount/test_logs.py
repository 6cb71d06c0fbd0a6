"""zramfs.mount.logs: where the processes of a mount log to."""

import logging
import os
import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from zramfs.mount.config import Config
from zramfs.mount.logs import leave_terminal, log_handler

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
    with closing(log_handler(replace(CONFIG, log_file=str(path)))) as handler:
        handler.handle(record("pages are lost", logging.WARNING))

    assert path.read_text() == f"zramfs[{os.getpid()}]: WARNING: pages are lost\n"


def test_a_daemon_in_the_foreground_logs_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_handler(CONFIG).handle(record("serving"))

    assert capsys.readouterr().err.endswith(": INFO: serving\n")


def test_a_daemon_in_the_background_logs_to_the_system(tmp_path: Path) -> None:
    syslog = str(tmp_path / "log")
    config = replace(CONFIG, foreground=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system:
        system.bind(syslog)
        with closing(log_handler(config, syslog)) as handler:
            handler.handle(record("serving"))

        assert b": INFO: serving" in system.recv(1000)


def test_without_a_system_log_nothing_is_logged(tmp_path: Path) -> None:
    config = replace(CONFIG, foreground=False)

    handler = log_handler(config, str(tmp_path / "log"))

    assert isinstance(handler, logging.NullHandler)


def test_a_reply_that_came_too_late_is_no_news() -> None:
    handler = log_handler(CONFIG)

    late = record(
        "fuse_reply_buf(): fuse_reply_* failed with No such file or directory"
    )

    assert not handler.filter(late)
    assert handler.filter(record("fuse_reply_* failed with Invalid argument"))


def test_a_daemon_lets_go_of_the_terminal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replaced: list[tuple[str, int]] = []

    def dup2(fd: int, fd2: int) -> None:
        replaced.append((str(Path(f"/proc/self/fd/{fd}").readlink()), fd2))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "dup2", dup2)

    leave_terminal()

    assert replaced == [("/dev/null", 0), ("/dev/null", 1), ("/dev/null", 2)]
    assert Path.cwd() == Path("/")
