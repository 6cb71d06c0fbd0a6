"""Loop devices follow the disksize, and idle ones do not keep a reset off.

To the kernel's zram the opener of the block device is who keeps it from being reset.
Here a loop device is the block device, and itself has the swapfile open: it counts if
somebody has the loop device open, and only then. While a store may change the disksize,
those that nobody has open are claimed, so that nobody mounts them or swaps on them.

The kernel asks for the size of the swapfile, which this process answers. So it is done
in threads, and by one task at a time: tasks that wait must not be all there are.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from zramfs.core.device import Device
from zramfs.errors import DeviceBusy
from zramfs.mount import loop_device
from zramfs.mount.loops import loops_on
from zramfs.mount.openers import open_disks

R = TypeVar("R")

log = logging.getLogger(__name__)


class Resizer:
    """The loop devices of one mount."""

    __slots__ = ("_is_busy", "_mountpoint")

    def __init__(self, mountpoint: Path) -> None:
        self._mountpoint = mountpoint
        self._is_busy = False

    @asynccontextmanager
    async def resizing(self, device: Device) -> AsyncIterator[None]:
        """Let what is done within change the disksize of *device*.

        DeviceBusy if somebody else is about to. Either finishes, or raises Cancelled
        with the loop devices as they are.
        """
        if not device.openers:  # no loop device has the swapfile open either
            yield
            return
        if self._is_busy:
            raise DeviceBusy("the device is being reset")
        self._is_busy = True
        try:
            claims = await _in_thread(partial(claim_idle, self._mountpoint))
            before = device.disksize
            device.idle_openers = len(claims)
            try:
                yield
            finally:
                device.idle_openers = 0
                follow = device.disksize != before
                await _in_thread(partial(self._finish, claims, follow=follow))
        finally:
            self._is_busy = False

    def _finish(self, claims: list[int], *, follow: bool) -> None:
        """Let go of *claims*, after the loop devices *follow* the disksize."""
        for loop in loops_on(self._mountpoint) if follow else ():
            try:
                loop_device.follow(loop)
            except OSError as error:
                log.warning("%s keeps its old size: %s", loop, error.strerror)
        for fd in claims:
            os.close(fd)


def claim_idle(mountpoint: Path) -> list[int]:
    """Return claims on the loop devices on *mountpoint* that nobody has open."""
    claims = []
    for loop in loops_on(mountpoint):
        with suppress(OSError):  # it is in use, or not ours to open
            claims.append(loop_device.claim(loop))
    disks = open_disks() if claims else set()
    used = [fd for fd in claims if os.fstat(fd).st_rdev in disks]
    for fd in used:
        os.close(fd)
    return [fd for fd in claims if fd not in used]


async def _in_thread(work: Callable[[], R]) -> R:
    """Do *work* beside the requests.

    Either does it, or raises Cancelled and leaves it to the thread. That is when the
    mount ends: nobody answers any more what the thread may be waiting for.
    """
    return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
