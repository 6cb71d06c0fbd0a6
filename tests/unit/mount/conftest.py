"""Fixtures of the mount's unit tests."""

from collections.abc import Iterator

import pytest

from tests.unit.mount.operator import Operator
from tests.unit.mount.rig import DevFuse, Rig, opened_rig
from zramfs.core.device import Device


@pytest.fixture
def rig(device: Device) -> Iterator[Rig]:
    """A lane in front of a device of 64 pages."""
    with opened_rig(device) as rig:
        yield rig


@pytest.fixture
def dev_fuse(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> DevFuse:
    """The manners of /dev/fuse for the connection of the lane."""
    return DevFuse(rig.connection, rig.kernel, monkeypatch)


@pytest.fixture
def operations(device: Device) -> Operator:
    """The operations of a device of 64 pages."""
    return Operator(device)
