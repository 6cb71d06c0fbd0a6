"""zramfs.mount.initialising: the store to disksize that is sent again."""

import pytest

from zramfs.core.device import Device
from zramfs.memory import MemFile
from zramfs.mount.initialising import Initialising
from zramfs.mount.takeover import RESENT

INODE = 7


@pytest.fixture
def device() -> Device:
    return Device(MemFile())


def reborn(device: Device) -> Initialising:
    """Return what knows of it in the process that takes over."""
    return Initialising(device, INODE)


def test_what_was_done_and_not_answered_is_done(device: Device) -> None:
    new = Initialising(device, INODE).is_done(INODE, 5)
    device.set_disksize(1 << 20)

    assert not new
    assert reborn(device).is_done(INODE, 5 | RESENT)


def test_what_was_not_done_is_not(device: Device) -> None:
    Initialising(device, INODE).is_done(INODE, 5)

    assert not reborn(device).is_done(INODE, 5 | RESENT)


def test_another_request_is_not(device: Device) -> None:
    before = Initialising(device, INODE)
    before.is_done(INODE, 5)
    before.is_done(INODE, 6)  # at the same time
    before.is_done(INODE + 1, 7)
    device.set_disksize(1 << 20)

    for nodeid, unique in ((INODE, 6), (INODE, 7), (INODE + 1, 5)):
        assert not reborn(device).is_done(nodeid, unique | RESENT)
    assert not reborn(device).is_done(INODE, 5)


def test_what_was_answered_is_not(device: Device) -> None:
    before = Initialising(device, INODE)
    before.is_done(INODE, 5)
    before.end(4)
    before.end(5)
    device.set_disksize(1 << 20)

    assert not reborn(device).is_done(INODE, 5 | RESENT)
