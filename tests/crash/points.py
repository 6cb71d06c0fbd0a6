"""Crash points: a device is taken over at every state that its memory is ever in.

A process that is killed leaves the memfd as it is at that moment and nothing else:
no destructor and no ``finally`` of it runs. So there is no need to kill one to see
what the next one finds. While an operation runs, `crash_points` looks at the memfd
between any two bytecodes of the core; whenever something in it has changed it is
copied, with the blocks of the backing device, and taken over by another device.
Operations that write many words at once (a copy of an object, NumPy) are one
bytecode: what they write is either not yet pointed to, or marks.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from traceback import format_tb
from types import FrameType

import zramfs
from tests.backing import FakeBackings, backings_of
from tests.verify import verify
from zramfs.core.device import Device
from zramfs.memory import MemFile

_PACKAGE = Path(zramfs.__file__).parent
_TRACED = (f"{_PACKAGE}/core/", f"{_PACKAGE}/memory.py")

Image = tuple[int, list[tuple[int, bytes]]]
"""Length of a memfd, and what is written in it, by offset."""


def take_image(fd: int) -> Image:
    """Return what the memfd holds, holes left out."""
    length = os.fstat(fd).st_size
    parts = []
    offset = 0
    while offset < length:
        try:
            offset = os.lseek(fd, offset, os.SEEK_DATA)
        except OSError:  # a hole up to the end
            break
        stop = os.lseek(fd, offset, os.SEEK_HOLE)
        parts.append((offset, os.pread(fd, stop - offset, offset)))
        offset = stop
    return length, parts


def restore_image(image: Image) -> int:
    """Return a new memfd that holds *image*."""
    length, parts = image
    fd = os.memfd_create("crashed", os.MFD_CLOEXEC)
    os.ftruncate(fd, length)
    for offset, data in parts:
        os.pwrite(fd, data, offset)
    return fd


@contextmanager
def taken_over(image: Image, backings: FakeBackings) -> Iterator[Device]:
    """Yield the device that is in *image*, verified, and leave nothing behind."""
    fd = restore_image(image)
    backings = deepcopy(backings)
    backings.orphan()
    try:
        device = Device(MemFile(fd), None, backings)
        verify(device)
        yield device
    finally:
        os.close(fd)


class _Watch:
    """Looks at the memory of a device whenever it may have changed."""

    def __init__(self, device: Device, check: Callable[[Device], None]) -> None:
        assert isinstance(device._memory, MemFile)
        self._fd = device._memory.fd
        self._backings = backings_of(device)
        self._check = check
        self._last: Image | None = None
        self.nr_points = 0
        self.failure: BaseException | None = None

    def enter(self, frame: FrameType, event: str, _: object) -> object:
        if event != "call" or not frame.f_code.co_filename.startswith(_TRACED):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self.step

    def step(self, frame: FrameType, event: str, _: object) -> object:
        if event in ("opcode", "return") and self.failure is None:
            self.look(f"{frame.f_code.co_qualname}, line {frame.f_lineno}")
        return self.step

    def look(self, where: str) -> None:
        image = take_image(self._fd)
        if image == self._last:
            return
        self._last = image
        self.nr_points += 1
        try:
            with taken_over(image, self._backings) as device:
                self._check(device)
        except Exception as error:  # noqa: BLE001  # it must not end what is watched
            error.add_note(f"a crash in {where}")
            error.add_note("".join(format_tb(error.__traceback__)))
            # Its frames hold what is watched, which could not be taken down then.
            self.failure = error.with_traceback(None)


@contextmanager
def crash_points(device: Device, check: Callable[[Device], None]) -> Iterator[_Watch]:
    """Take *device* over at each state that it is in meanwhile, and *check* it."""
    watch = _Watch(device, check)
    before = sys.gettrace()
    watch.look("the beginning")
    sys.settrace(watch.enter)  # type: ignore[arg-type]  # any object may come back
    try:
        yield watch
    finally:
        sys.settrace(before)
    watch.look("the end")
    if watch.failure:
        raise watch.failure
