"""zramfs.mount.notify: telling the service manager, and whoever started the mount."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from zramfs.errors import MountRefused
from zramfs.mount.config import Config
from zramfs.mount.notify import notify, tell_ready

CONFIG = Config(
    mountpoint="/mnt/z",
    settings={},
    data_path="lane",
    foreground=True,
    log_file=None,
)


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(5)
        yield manager


def test_nobody_is_told_without_a_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    notify("READY=1")


def test_an_empty_address_is_no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "")

    notify("READY=1")


def test_a_manager_with_a_path_is_told(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    manager.bind(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    notify("READY=1", "MAINPID=7")

    assert manager.recv(100) == b"READY=1\nMAINPID=7"


def test_a_manager_with_an_abstract_name_is_told(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"zramfs-test-{os.getpid()}"
    manager.bind(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")

    notify("READY=1")

    assert manager.recv(100) == b"READY=1"


def test_a_manager_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))

    with pytest.raises(FileNotFoundError, match="No such file"):
        notify("READY=1")


def test_a_manager_that_does_not_listen_is_an_error(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    manager.bind(address)
    manager.close()
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    with pytest.raises(ConnectionRefusedError, match="refused"):
        notify("READY=1")


def test_whoever_started_it_is_told_when_it_is_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    ready, theirs = os.pipe()

    tell_ready(replace(CONFIG, ready_fd=theirs))

    with os.fdopen(ready, "rb") as pipe:
        assert pipe.read() == b"\n"


def test_a_starter_that_has_gone_ends_the_mount(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    ready, theirs = os.pipe()
    os.close(ready)

    with pytest.raises(MountRefused, match="whoever started this mount has gone"):
        tell_ready(replace(CONFIG, ready_fd=theirs))

    os.close(theirs)


def test_the_service_manager_is_told_which_process_it_is(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = str(tmp_path / "notify")
    manager.bind(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    tell_ready(CONFIG)

    assert manager.recv(100) == f"READY=1\nMAINPID={os.getpid()}".encode()


def test_a_service_manager_that_is_not_there_is_but_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, announced: list[str]
) -> None:
    announced.append("the service manager cannot be told: .*No such file")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))

    tell_ready(CONFIG)
