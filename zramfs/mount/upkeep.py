"""Work that nobody asked for, once a second.

Compaction when too much memory is held for nothing: overwriting pages by pages of
other sizes leaves holes in some classes while others grow. zsmalloc compacts itself
when memory is short (its shrinker); a process is told of that too late, so this one
keeps the waste small all the time. And a look at the reserve, and at what this process
has waited for.
"""

from typing import Final

import trio

from zramfs.core.device import Device
from zramfs.core.lifecycle import State
from zramfs.mount.bio import Bio
from zramfs.mount.reserve import Reserve
from zramfs.mount.watchdog import FaultWatch
from zramfs.units import PAGE_SHIFT

_LOOK_S: Final = 1.0

_WASTE_SHIFT: Final = 6
"""A pass begins when 1/64 of the memory held is waste: kernel zram, which loses
more to its chains of pages, is at 1/50 when it is filled in one go."""

_WASTE_MIN: Final = 1 << 20
"""What the last, half-filled pages of 228 classes may take without being waste."""


async def keep_compact(device: Device, bio: Bio) -> None:
    """Compact whenever it pays, until cancelled between two steps of it."""
    residue = 0
    while True:
        await trio.sleep(_LOOK_S)
        if device.state is not State.READY:
            residue = 0
            continue
        store = device.store
        held = store.pool_pages << PAGE_SHIFT
        due = max(_WASTE_MIN, residue) + (held >> _WASTE_SHIFT)
        if store.waste > due:
            await bio.compact()
            residue = store.waste


async def keep_reserve(reserve: Reserve) -> None:
    """Take the reserve again when memory is back, until cancelled in between."""
    while True:
        await trio.sleep(_LOOK_S)
        if not reserve.is_held:
            reserve.refill()


async def watch_faults(watch: FaultWatch) -> None:
    """Look once a second, until cancelled between two looks."""
    watch.begin()
    while True:
        await trio.sleep(_LOOK_S)
        watch.look(trio.current_time())
