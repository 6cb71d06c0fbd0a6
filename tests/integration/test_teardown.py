"""The tests' own safety: a daemon that hangs or is dead leaves nothing behind."""

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration import teardown
from tests.integration.commands import zramfs
from tests.integration.mounts import Mount

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
    pytest.mark.timeout(60),
]

STEP_S = 1.0


def _mount(place: Path, command: str, data_path: tuple[str, ...]) -> Mount:
    path = place / "mnt"
    path.mkdir()
    zramfs(command, path, "--disksize", "64M", *data_path)
    return Mount(path=path, log=place / "log")


def _read(path: Path) -> None:
    with suppress(OSError):
        path.read_bytes()


def test_a_mount_whose_daemon_hangs_is_taken_down(
    place: Path, data_path: tuple[str, ...]
) -> None:
    mount = _mount(place, "mount", data_path)
    os.kill(mount.pid, signal.SIGSTOP)
    reader = threading.Thread(target=_read, args=[mount.swapfile])
    reader.start()

    teardown.take_down(place, STEP_S)
    reader.join(STEP_S)

    assert not reader.is_alive()
    assert teardown.leftovers(place) == []


@pytest.mark.requires("root", "loop", "mkswap", "swapon")
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_swap_whose_daemon_is_gone_is_taken_down(
    place: Path, data_path: tuple[str, ...], number: signal.Signals
) -> None:
    mount = _mount(place, "swapon", data_path)
    (loop,) = teardown.loops_below(place)
    os.kill(mount.pid, number)

    teardown.take_down(place, STEP_S)

    assert loop not in teardown.swaps()
    assert teardown.leftovers(place) == []


def test_what_a_dead_run_left_is_swept(place: Path, data_path: tuple[str, ...]) -> None:
    dead = place / "pytest-7"
    dead.mkdir()
    _mount(dead, "mount", data_path)

    teardown.sweep(place)

    assert teardown.leftovers(place) == []


def test_what_a_living_run_has_is_not_swept(
    place: Path, data_path: tuple[str, ...]
) -> None:
    living = place / "pytest-8"
    living.mkdir()
    (living / ".lock").write_text(str(os.getppid()))
    mount = _mount(living, "mount", data_path)

    teardown.sweep(place)
    shown = mount.show("initstate")
    zramfs("umount", mount.path)

    assert shown == "1\n"
