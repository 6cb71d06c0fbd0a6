"""The process that serves a mount, from its start to its end.

A fresh interpreter, ``python -m zramfs.mount.worker CONFIG CHANNEL``, that its
supervisor starts. The first one makes the device as CONFIG says; any other takes
over what the one before it has left. It says in a sentence on stderr, and to the
supervisor, why it cannot.
"""

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Final

import pyfuse3
import trio

from zramfs.core.attributes import ATTRIBUTES, Attribute
from zramfs.core.backing import OpenBacking
from zramfs.core.device import Device
from zramfs.errors import MountRefused, ZramError, sentence
from zramfs.memory import MemFile
from zramfs.mount import loops, session
from zramfs.mount.backings import Backings
from zramfs.mount.channel import Channel, Word
from zramfs.mount.config import Config
from zramfs.mount.hardening import harden
from zramfs.mount.heap import keep_heap
from zramfs.mount.lifeline import Lifeline
from zramfs.mount.logs import begin_log, leave_terminal
from zramfs.mount.reserve import Reserve, SystemMemory
from zramfs.mount.safety import Safety
from zramfs.mount.second_thread import second_thread
from zramfs.mount.server import Server, open_server, store_settings
from zramfs.mount.watchdog import FaultWatch

log = logging.getLogger("zramfs")

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def make_device(
    memory: MemFile, settings: dict[str, str], open_backing: OpenBacking | None = None
) -> Device:
    """Return a device with *settings*, stored as an echo would, disksize last.

    The kernel wants disksize last too: it freezes most of the others.
    """
    device = Device(memory, _read_file, open_backing, second_thread())
    store_settings(device, sorted(ATTRIBUTES.values(), key=_initialises), settings)
    return device


def _read_file(path: str) -> bytes:
    """Return a regular file; nothing of what is no regular file."""
    file = Path(path)
    return b"" if file.exists() and not file.is_file() else file.read_bytes()


def _initialises(row: Attribute) -> bool:
    return row.initialises


def run(config: Config, lifeline: Lifeline) -> None:
    """Serve until the end, when it is this worker's turn."""
    begin_log(config)
    keep_heap()
    memory = MemFile(lifeline.memory)
    is_first = lifeline.generation == 0
    measures = harden()
    for measure in measures:
        if measure.refusal and is_first:
            log.warning("%s", measure)
    reserve = Reserve(SystemMemory().available)
    memory.admit = reserve.admit
    safety = Safety(
        Path(config.mountpoint), measures, faults=FaultWatch(), reserve=reserve
    )
    safety.supervisor_pid = lifeline.supervisor_pid
    backings = Backings(config, memory.header, lifeline)
    device = None
    if is_first:
        device = make_device(memory, config.settings, backings.open)
    turn = lifeline.wait_turn()
    if device is None:
        with backings.recovering(turn.kept):
            device = Device(memory, _read_file, backings.open, second_thread())
    with ExitStack() as stack:
        connection = turn.connection
        server = open_server(stack, device, connection, config, safety, lifeline)
        trio.run(_serve, config, server, lifeline)


async def _serve(config: Config, server: Server, lifeline: Lifeline) -> None:
    """Serve until unmounted or told to end.

    Cancelled only from within, when serving has ended.
    """
    mountpoint = Path(config.mountpoint)
    if not config.foreground:
        leave_terminal()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lifeline.listen, nursery.cancel_scope.cancel)
        await nursery.start(_end_on_signal, mountpoint, nursery.cancel_scope.cancel)
        lifeline.tell(Word.READY)
        await server.serve()
        nursery.cancel_scope.cancel()


async def _end_on_signal(
    mountpoint: Path,
    stop: Callable[[], None],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """End the mount on SIGTERM and SIGINT, unless a loop device stands on it.

    Cancelled when serving has ended; nothing to leave behind.
    """
    for each in _SIGNALS:
        # From when this returns on: what comes twice must not kill the second time.
        signal.signal(each, signal.SIG_IGN)
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        task_status.started()
        async for number in signals:
            name = signal.Signals(number).name
            users = loops.loops_on(mountpoint)
            if not users:
                log.info("%s: unmounting %s", name, mountpoint)
                # Lazily: whoever has it open gets ENOTCONN from now on.
                with suppress(MountRefused):
                    session.unmount(mountpoint, lazy=True)
                pyfuse3.terminate()
                stop()  # whatever a control file waits for
                return
            log.warning(
                "%s ignored: %s is attached; run 'zramfs swapoff %s'",
                name,
                " ".join(map(str, users)),
                mountpoint,
            )


def main() -> int:
    """Serve as the command line says; return the exit status."""
    with closing(Channel.adopt(int(sys.argv[2]))) as channel:
        return _guarded(Config.from_json(sys.argv[1]), channel)


def _guarded(config: Config, channel: Channel) -> int:
    """Serve; say why that failed, if it did, and return the exit status."""
    status = 0
    try:
        run(config, Lifeline(channel))
    except* (ZramError, OSError) as group:
        sentences = [sentence(error) for error in _flat(group)]
        for text in sentences:
            sys.stderr.write(f"zramfs: {text}\n")
        channel.send(Word.FAILED, "; ".join(sentences))
        status = 1
    except* Exception as group:
        log.critical("the worker has failed", exc_info=group)
        status = 1
    return status


def _flat(
    group: BaseExceptionGroup[ZramError | OSError],
) -> Iterator[ZramError | OSError]:
    """Yield the errors in *group* and in the groups within."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _flat(error)
        else:
            yield error


if __name__ == "__main__":
    sys.exit(main())
