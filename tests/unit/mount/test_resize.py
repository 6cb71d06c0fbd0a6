"""zramfs.mount.resize: loop devices follow disksize; idle ones keep no reset off."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from zramfs.core.device import Device
from zramfs.errors import DeviceBusy
from zramfs.mount import loop_device, resize
from zramfs.mount.resize import Resizer, claim_idle

MOUNTPOINT = Path("/mnt/z")
LOOPS = [Path("/dev/loop3"), Path("/dev/loop4")]


class Loops:
    """Loop devices that are nothing but descriptors of /dev/null."""

    def __init__(self) -> None:
        self.busy: set[Path] = set()
        self.claims: dict[Path, int] = {}
        self.followed: list[Path] = []

    def claim(self, loop: Path) -> int:
        if loop in self.busy:
            raise OSError("somebody has it")
        self.claims[loop] = os.open(os.devnull, os.O_RDONLY)
        return self.claims[loop]

    def follow(self, loop: Path) -> None:
        assert self.are_held(), "whoever opens it first sees the old size"
        self.followed.append(loop)

    def are_held(self) -> bool:
        return any(is_open(fd) for fd in self.claims.values())


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loops]:
    """Two of them, on MOUNTPOINT."""
    loops = Loops()
    monkeypatch.setattr(resize, "loops_on", lambda _: LOOPS)
    monkeypatch.setattr(resize, "open_disks", set)
    monkeypatch.setattr(loop_device, "claim", loops.claim)
    monkeypatch.setattr(loop_device, "follow", loops.follow)
    with ExitStack() as stack:
        yield loops
        for fd in filter(is_open, loops.claims.values()):
            stack.callback(os.close, fd)


def run(device: Device, body: "list[str]", *, refuse: bool = False) -> None:
    """Resize, and note what the device says meanwhile."""

    async def main() -> None:
        async with Resizer(MOUNTPOINT).resizing(device):
            body.append(f"{device.idle_openers} of {device.openers} are idle")
            if refuse:
                raise DeviceBusy("refused")
            device.reset()

    trio.run(main)


def test_without_openers_no_loop_device_is_looked_for(
    device: Device, loops: Loops
) -> None:
    run(device, [])

    assert device.disksize == 0
    assert (loops.claims, loops.followed) == ({}, [])


@pytest.mark.usefixtures("loops")
def test_loop_devices_that_nobody_has_open_keep_no_reset_off(device: Device) -> None:
    device.openers = 2
    body: list[str] = []

    run(device, body)

    assert body == ["2 of 2 are idle"]
    assert device.disksize == device.idle_openers == 0
    device.openers = 0


def test_loop_devices_follow_before_they_are_let_go(
    device: Device, loops: Loops
) -> None:
    device.openers = 2

    run(device, [])

    assert loops.followed == LOOPS
    assert not loops.are_held()
    device.openers = 0


def test_what_is_open_besides_keeps_it_off(device: Device, loops: Loops) -> None:
    device.openers = 3

    with pytest.raises(DeviceBusy, match="open"):
        run(device, [])

    assert device.disksize
    assert loops.followed == []
    assert not loops.are_held()
    device.openers = 0


def test_a_loop_device_that_somebody_has_keeps_it_off(
    device: Device, loops: Loops
) -> None:
    device.openers = 2
    loops.busy.add(LOOPS[1])
    body: list[str] = []

    with pytest.raises(DeviceBusy, match="open"):
        run(device, body)

    assert body == ["1 of 2 are idle"]
    assert not loops.are_held()
    device.openers = 0


@pytest.mark.usefixtures("loops")
def test_what_is_refused_is_followed_by_nobody(device: Device, loops: Loops) -> None:
    device.openers = 2

    with pytest.raises(DeviceBusy, match="refused"):
        run(device, [], refuse=True)

    assert loops.followed == []
    assert device.idle_openers == 0
    assert not loops.are_held()
    device.openers = 0


def test_only_one_resizes_at_a_time(device: Device, loops: Loops) -> None:
    device.openers = 2

    async def main() -> None:
        resizer = Resizer(MOUNTPOINT)
        async with resizer.resizing(device):
            with pytest.raises(DeviceBusy, match="being reset"):
                async with resizer.resizing(device):
                    raise AssertionError
        async with resizer.resizing(device):
            pass

    trio.run(main)

    assert not loops.are_held()
    device.openers = 0


def test_a_loop_device_that_cannot_follow_is_logged(
    device: Device,
    loops: Loops,
    announced: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(loop_device, "follow", fail)
    announced.append("keeps its old size")
    device.openers = 2

    run(device, [])

    assert "/dev/loop3 keeps its old size: Operation not permitted" in caplog.text
    assert not loops.are_held()
    device.openers = 0


def test_a_loop_device_that_a_process_has_open_is_not_idle(
    loops: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    null = Path(os.devnull).stat().st_rdev
    monkeypatch.setattr(resize, "open_disks", lambda: {null})

    assert claim_idle(MOUNTPOINT) == []
    assert not loops.are_held()
