"""zramfs.mount.notify: telling the service manager, if there is one."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from zramfs.mount.notify import notify


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
