"""All that serves one connection: a lane, libfuse, and the upkeep of the device."""

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pyfuse3
import trio

from zramfs.core.attributes import ATTRIBUTES, Attribute
from zramfs.core.block_layer import DIRECTORIES, block_layer_files
from zramfs.core.device import Device
from zramfs.core.steps import finish
from zramfs.mount import loops
from zramfs.mount.bio import Bio
from zramfs.mount.channel import Word
from zramfs.mount.config import LANE, Config
from zramfs.mount.control import control_files
from zramfs.mount.files import Files
from zramfs.mount.initialising import Initialising
from zramfs.mount.lifeline import Lifeline
from zramfs.mount.operations import Operations
from zramfs.mount.paths import Paths, RwPage
from zramfs.mount.relay import Relay
from zramfs.mount.resize import Resizer
from zramfs.mount.rw_page import Lane
from zramfs.mount.safety import Safety
from zramfs.mount.takeover import Heir, SavedInit, can_resend
from zramfs.mount.tree import ROOT_INODE, Tree
from zramfs.mount.upkeep import keep_compact, keep_reserve, watch_faults

_MAX_TASKS: Final = 20
"""Requests that pyfuse3 works on at a time. Behind the lane its replies wait in a
socket until they are copied, and this many of the largest fit in there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What serves a connection; libfuse is one for each process."""

    device: Device
    bio: Bio
    lane: Lane | None
    """None where pyfuse3 reads the connection itself."""
    safety: Safety

    async def serve(self) -> None:
        """Serve until the filesystem is unmounted or `pyfuse3.terminate` is called.

        Either serves to the end, or raises Cancelled between two requests.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_compact, self.device, self.bio)
            nursery.start_soon(self.bio.io.run)
            nursery.start_soon(watch_faults, self.safety.faults)
            nursery.start_soon(keep_reserve, self.safety.reserve)
            if self.lane:
                stop = nursery.cancel_scope.cancel
                nursery.start_soon(_serve_lane, self.lane, stop)
            await pyfuse3.main(max_tasks=_MAX_TASKS)
            nursery.cancel_scope.cancel()


async def _serve_lane(lane: Lane, stop: Callable[[], None]) -> None:
    """Serve, and *stop* all else when the filesystem is unmounted.

    libfuse would wait for requests that nobody waits for any more.

    Either serves to the end, or raises Cancelled between two requests.
    """
    await lane.serve()
    pyfuse3.terminate()
    stop()


def store_settings(
    device: Device, rows: Iterable[Attribute], settings: Mapping[str, str]
) -> None:
    """Store those of *rows* that *settings* have a value for, as an echo would."""
    for row in rows:
        if row.name in settings:
            finish(row.store(device, settings[row.name]))


def open_server(
    stack: ExitStack,
    device: Device,
    connection: int,
    config: Config,
    safety: Safety,
    lifeline: Lifeline | None = None,
) -> Server:
    """Make libfuse ready, behind a lane or with *connection* to itself.

    What must be closed at the end is left to *stack*. A worker that is not the
    first of its *lifeline* takes over from the one before it.
    """
    generation = lifeline.generation if lifeline else 0
    with_lane = config.data_path == LANE
    paths = Paths(RwPage.ALWAYS if with_lane else RwPage.OFF, device.header)
    bio = Bio(device, paths.stat)
    own = control_files(
        paths,
        lane=with_lane,
        safety=safety,
        supervisor_pid=lifeline.supervisor_pid if lifeline else os.getppid,
    )
    if not generation:
        store_settings(device, own, config.settings)
    mountpoint = Path(config.mountpoint)
    disk = partial(loops.disk_on, mountpoint)
    kernel = (*block_layer_files(disk), *ATTRIBUTES.values())
    tree = Tree(kernel, own, DIRECTORIES)
    files = Files(device, tree, bio, Resizer(mountpoint), generation)
    operations = Operations(device, tree, files, discards=with_lane)
    lane = None
    if with_lane:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.callback(ours.close)
        for fd in (ours.fileno(), connection):
            os.set_blocking(fd, False)
        initialising = Initialising(device, tree.child(ROOT_INODE, b"disksize").inode)
        relay = Relay(connection, ours, _init_saver(device, lifeline), initialising)
        heir = None
        if lifeline and generation:
            caught_up = partial(lifeline.tell, Word.CAUGHT_UP)
            heir = Heir(device, connection, relay, caught_up)
        lane = Lane(device, bio, paths, connection, relay, heir)
        libfuse = theirs.detach()
    else:
        libfuse = os.dup(connection)
    # libfuse closes what it is given.
    pyfuse3.init(operations, f"/dev/fd/{libfuse}", set())
    stack.callback(pyfuse3.close, unmount=False)
    return Server(device=device, bio=bio, lane=lane, safety=safety)


def _init_saver(
    device: Device, lifeline: Lifeline | None
) -> Callable[[memoryview], None] | None:
    """Return what keeps the INIT request for whoever takes over from this worker."""
    if lifeline is None:
        return None

    def save(request: memoryview) -> None:
        SavedInit(device.header).save(request)
        if can_resend(bytes(request)):
            lifeline.tell(Word.RESTARTABLE)

    return save
