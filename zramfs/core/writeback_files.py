"""The control files of writeback: where pages may go, which, and how many.

The grammars of `backing_dev_store`, `writeback_store` and the files beside them in
``zram_drv.c`` of Linux 7.3.
"""

import os
from typing import Final

from zramfs.core.backing import Backing
from zramfs.core.device import Change, Device
from zramfs.core.lifecycle import State
from zramfs.core.slots import HUGE, IDLE, INCOMPRESSIBLE
from zramfs.core.steps import Steps, Work
from zramfs.core.writeback import Scan
from zramfs.errors import DeviceBusy, InvalidValue, NoBackingDevice, OutOfRange
from zramfs.units import kstrtobool, kstrtoull, next_args, number

_PATH_MAX: Final = 4096
"""Bytes of a path, with the final NUL."""

_U32_MAX: Final = (1 << 32) - 1

_MODES: Final = {
    "idle": IDLE,
    "huge": HUGE,
    "huge_idle": HUGE | IDLE,
    "incompressible": INCOMPRESSIBLE,
}
"""Flags that a page must have, by the type asked for."""


def parse_backing_dev(text: str) -> Change:
    """Choose the backing device at a path, instead of the one chosen before."""
    path = os.fsdecode(os.fsencode(text)[: _PATH_MAX - 1]).removesuffix("\n")
    # The empty path is the directory that one is in, as for filp_open().
    return lambda device: _choose(device, device.files.resolve(path or "."))


def _choose(device: Device, path: str) -> Steps:
    """Open it in another thread: it may be slow, or a file of this very mount."""
    found: list[Backing] = []
    try:
        work = Work(lambda: found.append(device.backing.open(path)))
        yield work
        yield work
        if device.state is not State.BARE:  # meanwhile
            raise DeviceBusy(f"the device is {device.state.value}")
        device.configure(device.config.with_backing(found[0].path))
        device.backing.choose(found.pop())
    finally:
        for backing in found:
            backing.close()


def parse_writeback(text: str) -> Change:
    """Write back: ``[type=]T``, or any ``page_index=N`` and ``page_indexes=A-B``.

    The kernel looks for a backing device before it looks at the text.
    """

    def change(device: Device) -> Steps:
        if device.backing.chosen is None:
            raise NoBackingDevice("there is no backing_dev")
        return device.writeback(_scans(text, device.store.nr_slots))

    return change


def _scans(text: str, nr_slots: int) -> list[Scan]:
    """Return what *text* asks to look at, in its order.

    A type ends it. Behind pages that were named it is about the last of them.
    """
    scans: list[Scan] = []
    start, stop = 0, nr_slots
    for key, value in next_args(text):
        if not value or key == "type":
            scans.append(Scan(start=start, stop=stop, mode=_mode(value or key)))
            break
        if key == "page_index":
            start = _index(value, nr_slots)
            stop = start + 1
        elif key == "page_indexes":
            start, stop = _range(value, nr_slots)
        else:
            continue
        scans.append(Scan(start=start, stop=stop, mode=0))
    return scans


def _mode(name: str) -> int:
    try:
        return _MODES[name]
    except KeyError:
        raise InvalidValue(f"no type {name!r}, only: {' '.join(_MODES)}") from None


def _index(text: str, nr_slots: int) -> int:
    index = kstrtoull(text)
    if index >= nr_slots:
        raise OutOfRange(f"page {index}: the device has {nr_slots}")
    return index


def _range(text: str, nr_slots: int) -> tuple[int, int]:
    """Return where the pages named in *text* begin and end."""
    first, dash, last = text.partition("-")
    if not dash:
        raise InvalidValue(f"no range of pages: {text!r}")
    start, stop = _index(first, nr_slots), _index(last, nr_slots) + 1
    if start >= stop:
        raise OutOfRange(f"pages {text} are none")
    return start, stop


def parse_limit(text: str) -> Change:
    """Set how many pages may yet be written back, if that is limited."""
    nr_pages = number(text)

    def change(device: Device) -> None:
        device.backing.limit = nr_pages

    return change


def parse_limit_enable(text: str) -> Change:
    """Set whether that is limited."""
    limited = number(text) != 0

    def change(device: Device) -> None:
        device.backing.is_limited = limited

    return change


def parse_batch_size(text: str) -> Change:
    """Set how many writes may be in flight."""
    nr_writes = number(text, maximum=_U32_MAX)
    if not nr_writes:
        raise InvalidValue("a batch of no writes writes nothing")

    def change(device: Device) -> None:
        device.backing.batch_size = nr_writes

    return change


def parse_compressed(text: str) -> Change:
    """Set whether objects are written as they are stored."""
    compressed = kstrtobool(text)

    def change(device: Device) -> None:
        device.backing.compressed = compressed

    return change
