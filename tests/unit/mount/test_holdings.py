"""zramfs.mount.holdings: what outlives a worker."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from zramfs.mount import session
from zramfs.mount.holdings import Holdings
from zramfs.mount.session import FS_TYPE, MountPoint

PATH = Path("/mnt/z")


def null() -> int:
    return os.open(os.devnull, os.O_RDWR)


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.fixture
def holdings() -> Holdings:
    return Holdings(mountpoint=PATH, memory=null())


class System:
    """Mounts, and what was unmounted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mounts: list[MountPoint] = []
        self.unmounted: list[tuple[Path, bool]] = []
        self.connections = 0
        monkeypatch.setattr(session, "connect", self._connect)
        monkeypatch.setattr(session, "mounts", lambda: self.mounts)
        monkeypatch.setattr(session, "unmount", self._unmount)

    def mount(self, device: str, fs_type: str = FS_TYPE) -> None:
        self.mounts.append(MountPoint(path=PATH, fs_type=fs_type, device=device))

    def _connect(self, _: Path) -> int:
        self.connections += 1
        self.mount("0:50")
        return null()

    def _unmount(self, path: Path, *, lazy: bool) -> None:
        self.unmounted.append((path, lazy))


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    return System(monkeypatch)


def test_it_is_mounted_once(holdings: Holdings, system: System) -> None:
    first = holdings.connect()

    assert holdings.connect() == first
    assert system.connections == 1
    holdings.close()


def test_it_is_unmounted_lazily(holdings: Holdings, system: System) -> None:
    holdings.connect()
    holdings.unmount()
    holdings.close()

    assert system.unmounted == [(PATH, True)]


def nothing_mounted(system: System) -> None:
    system.mounts.clear()


def another_mounted(system: System) -> None:
    system.mounts.clear()
    system.mount("0:51")


def covered(system: System) -> None:
    system.mount("0:51")


@pytest.mark.parametrize("change", [nothing_mounted, another_mounted, covered])
def test_only_its_own_mount_is_unmounted(
    holdings: Holdings, system: System, change: Callable[[System], None]
) -> None:
    holdings.connect()
    change(system)
    holdings.unmount()
    holdings.close()

    assert system.unmounted == []


def test_what_never_was_mounted_is_not_unmounted(
    holdings: Holdings, system: System
) -> None:
    holdings.unmount()
    holdings.close()

    assert system.unmounted == []


def test_everything_is_closed_at_the_end(holdings: Holdings, system: System) -> None:
    kept = null()
    holdings.keep("backing_dev", kept)
    fds = [holdings.memory, holdings.connect(), kept]
    holdings.close()

    assert system.connections == 1
    assert not any(map(is_open, fds))


def test_what_is_kept_anew_or_dropped_is_closed(holdings: Holdings) -> None:
    old, new = null(), null()
    holdings.keep("backing_dev", old)
    holdings.keep("backing_dev", new)
    was_open = is_open(old), is_open(new)
    holdings.drop("backing_dev")
    holdings.drop("backing_dev")

    assert was_open == (False, True)
    assert not is_open(new)
    holdings.close()
