"""What tests of the device do all the time."""

from tests.pages import make_page
from zramfs.core.device import Device
from zramfs.units import PAGE_SIZE


def write(device: Device, offset: int, data: bytes) -> int:
    return device.write(offset, memoryview(data))


def write_page(device: Device, index: int, kind: str) -> int:
    return write(device, index * PAGE_SIZE, make_page(kind, index))


def discard(device: Device, first: int, nr_pages: int) -> None:
    """Discard whole pages."""
    for _ in device.discard(first * PAGE_SIZE, nr_pages * PAGE_SIZE):
        pass
