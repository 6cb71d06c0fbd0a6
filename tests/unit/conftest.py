"""Devices for unit tests; each is verified when its test ends."""

from collections.abc import Iterator

import pytest

from tests.verify import opened_device
from zramfs.core.device import Device
from zramfs.core.store import Store
from zramfs.units import PAGE_SIZE

NR_SLOTS = 64


@pytest.fixture
def bare() -> Iterator[Device]:
    """A device without a disksize."""
    with opened_device() as device:
        yield device


@pytest.fixture
def device(bare: Device) -> Device:
    """A device of 64 pages."""
    bare.set_disksize(NR_SLOTS * PAGE_SIZE)
    return bare


@pytest.fixture
def store(device: Device) -> Store:
    """The pages of a device that has 64."""
    return device.store
