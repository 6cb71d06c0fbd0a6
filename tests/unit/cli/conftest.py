"""Fixtures of the command line's unit tests."""

import os
from pathlib import Path

import pytest

from tests.unit.cli.mounts import Commands, Notes, show
from zramfs.cli import mounted
from zramfs.core.device import Device


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Commands of the system that do nothing but note it, until one is replaced."""
    commands = Commands(tmp_path / "bin")
    for name in ("losetup", "mkswap", "swapon", "swapoff"):
        commands.install(name)
    monkeypatch.setenv("PATH", str(commands.directory))
    return commands


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    """Stand-ins for functions of the package."""
    return Notes(monkeypatch)


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Being root, as far as zramfs is concerned."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Being nobody special."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.fixture
def mountpoint(tmp_path: Path, device: Device, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that shows a device of 64 pages, and counts as mounted."""
    path = tmp_path / "mnt"
    path.mkdir()
    show(path, device)
    monkeypatch.setattr(mounted, "zramfs_mounts", lambda: [path])
    return path
