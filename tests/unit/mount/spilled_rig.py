"""A lane in front of a device some of whose pages are written back, to a memfd."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from tests.unit.mount.rig import Rig, opened_rig
from tests.unit.mount.scripted_io import ScriptedIo
from zramfs.core.attributes import ATTRIBUTES
from zramfs.core.device import Device
from zramfs.core.header import Header
from zramfs.seal import make_sealer
from zramfs.spill import Spill, open_spill
from zramfs.units import PAGE_SIZE


def attach_memory(device: Device, nr_blocks: int) -> Spill:
    """Give a *device* without a disksize a backing device that needs no file."""
    fd = os.memfd_create("spill")
    os.ftruncate(fd, nr_blocks * PAGE_SIZE)
    spill = Spill(fd, "spill", make_sealer(None, Header()))
    device.backing.choose(spill)
    return spill


def attach_file(device: Device, path: Path, nr_blocks: int) -> Spill:
    """Give it one that is a new file, opened as a mount opens it."""
    fd = open_spill(str(path), nr_blocks * PAGE_SIZE)
    spill = Spill(fd, str(path), make_sealer(None, Header()))
    device.backing.choose(spill)
    return spill


@contextmanager
def spilled_rig(device: Device, pages: str) -> Iterator[tuple[Rig, ScriptedIo]]:
    """Yield a lane in front of *device*, with *pages* of it written back.

    *pages* is what is stored to `writeback`.
    """
    with opened_rig(device) as rig:
        rig.bio.io = io = ScriptedIo()
        trio.run(rig.bio.store, ATTRIBUTES["writeback"], pages)
        yield rig, io
        io.land()
        assert not device.store.blocks._pins
