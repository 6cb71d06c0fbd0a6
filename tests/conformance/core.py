"""The core as a target: no mount, no FUSE, always there."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.backing import backings_of, discard, drive, read, write
from zramfs.core.attributes import ATTRIBUTES, Attribute
from zramfs.core.block_layer import block_layer_files
from zramfs.core.block_state import read_block_state
from zramfs.core.device import Device
from zramfs.errors import WrongDirection, ZramError
from zramfs.units import PAGE_SIZE


def as_os_error(error: ZramError) -> OSError:
    return OSError(error.errno, str(error))


@dataclass(frozen=True, slots=True)
class CoreAttributes:
    """The table of attributes, behind the rules of sysfs."""

    device: Device
    rows: Mapping[str, Attribute]

    def store(self, name: str, data: bytes) -> int:
        if not data:  # write(2) of nothing never comes to a driver
            return 0
        taken = data[:4096]
        text = os.fsdecode(taken.split(b"\0", 1)[0])
        attribute = self.rows[name]
        try:
            if not attribute.parse:
                raise WrongDirection(f"{name} is read-only")
            drive(attribute.store(self.device, text))
        except ZramError as error:
            raise as_os_error(error) from error
        return len(taken)

    def show(self, name: str) -> bytes:
        shown = self.rows[name].show
        if not shown:
            raise as_os_error(WrongDirection(f"{name} is write-only"))
        return shown(self.device).encode()


@dataclass(frozen=True, slots=True)
class CorePages:
    """The pages of a device."""

    device: Device

    def read(self, offset: int, length: int) -> bytes:
        try:
            return read(self.device, offset, length)
        except ZramError as error:
            raise as_os_error(error) from error

    def write(self, offset: int, data: bytes) -> int:
        try:
            return write(self.device, offset, data)
        except ZramError as error:
            raise as_os_error(error) from error

    def discard(self, offset: int, length: int) -> None:
        discard(self.device, offset, length)


class Core:
    """A device."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._now_s = 1000  # the machine has been up for a while
        device.tick(self._now_s)
        rows = {row.name: row for row in block_layer_files(lambda: None)}
        self.attributes = CoreAttributes(device, {**rows, **ATTRIBUTES})
        self.pages = CorePages(device)

    def block_state(self) -> bytes:
        try:
            return read_block_state(self._device, 0, 1 << 30)[0]
        except ZramError as error:
            raise as_os_error(error) from error

    def wait(self, seconds: int) -> None:
        self._now_s += seconds
        self._device.tick(self._now_s)

    def make_backing(self, nr_pages: int) -> str:
        return backings_of(self._device).make(nr_pages).path

    def read_block(self, path: str, block: int) -> bytes:
        blocks = backings_of(self._device).by_path[path].blocks
        return blocks.get(block, bytes(PAGE_SIZE))

    def spoil_block(self, path: str, block: int) -> None:
        backings_of(self._device).by_path[path].bad_blocks.add(block)

    def hold(self) -> Callable[[], None]:
        self._device.open()
        return self._device.release
