"""The process that serves a mount, from its start to its end.

A fresh interpreter, ``python -m zramfs.mount.worker CONFIG``, that either writes a
byte to a descriptor when the mount is ready and serves it until it is unmounted,
or says in a sentence on stderr why not.
"""

import errno
import logging
import logging.handlers
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pyfuse3
import trio

from zramfs.core.attributes import ATTRIBUTES, Attribute
from zramfs.core.device import Device
from zramfs.errors import MountRefused, ZramError, sentence
from zramfs.memory import MemFile
from zramfs.mount import loops, session
from zramfs.mount.config import Config
from zramfs.mount.hardening import harden
from zramfs.mount.notify import notify
from zramfs.mount.safety import Safety
from zramfs.mount.server import Server, open_server, store_settings
from zramfs.mount.watchdog import FaultWatch

log = logging.getLogger("zramfs")

_SYSLOG: Final = "/dev/log"

_REPLY_TOO_LATE: Final = f"fuse_reply_* failed with {os.strerror(errno.ENOENT)}"
"""What pyfuse3 calls an error: the request had ended with the connection."""


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().endswith(_REPLY_TOO_LATE)


def log_handler(config: Config, syslog: str = _SYSLOG) -> logging.Handler:
    """Return what logs to where *config* says: a file, stderr, *syslog*, or nowhere."""
    handler: logging.Handler
    if config.log_file:
        handler = logging.FileHandler(config.log_file)
    elif config.foreground:
        handler = logging.StreamHandler()
    elif Path(syslog).exists():
        handler = logging.handlers.SysLogHandler(syslog)
    else:
        handler = logging.NullHandler()
    pattern = f"zramfs[{os.getpid()}]: %(levelname)s: %(message)s"
    handler.setFormatter(logging.Formatter(pattern))
    handler.addFilter(_is_news)
    return handler


def make_device(settings: dict[str, str]) -> Device:
    """Return a device with *settings*, stored as an echo would, disksize last.

    The kernel wants disksize last too: it freezes most of the others.
    """
    device = Device(MemFile(), _read_file)
    store_settings(device, sorted(ATTRIBUTES.values(), key=_initialises), settings)
    return device


def _read_file(path: str) -> bytes:
    """Return a regular file; nothing of what is no regular file."""
    file = Path(path)
    return b"" if file.exists() and not file.is_file() else file.read_bytes()


def _initialises(row: Attribute) -> bool:
    return row.initialises


def run(config: Config) -> None:
    """Mount and serve until the end; whatever is raised, nothing stays mounted."""
    mountpoint = Path(config.mountpoint)
    with ExitStack() as stack:
        session.check_mountpoint(mountpoint)
        logging.basicConfig(level=logging.INFO, handlers=[log_handler(config)])
        measures = harden()
        for measure in measures:
            if measure.refusal:
                log.warning("%s", measure)
        safety = Safety(mountpoint, measures, faults=FaultWatch())
        device = make_device(config.settings)
        connection = session.connect(mountpoint)
        stack.callback(session.disconnect, mountpoint, connection)
        server = open_server(stack, device, connection, config, safety)
        trio.run(_serve, mountpoint, config, server)


async def _serve(mountpoint: Path, config: Config, server: Server) -> None:
    """Serve until unmounted or told to end.

    Cancelled only from within, when serving has ended.
    """
    async with trio.open_nursery() as nursery:
        await nursery.start(_end_on_signal, mountpoint)
        _tell_ready(config)
        await server.serve()
        nursery.cancel_scope.cancel()


def _tell_ready(config: Config) -> None:
    log.info("serving %s", config.mountpoint)
    os.chdir("/")  # pins no directory
    if not config.foreground:
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
        os.close(null)
    try:
        notify("READY=1", f"MAINPID={os.getpid()}")
    except OSError as error:
        log.warning("the service manager cannot be told: %s", error)
    if config.ready_fd is not None:
        try:
            os.write(config.ready_fd, b"\n")
        except BrokenPipeError:
            raise MountRefused("whoever started this mount has gone") from None
        os.close(config.ready_fd)


async def _end_on_signal(
    mountpoint: Path,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """End the mount on SIGTERM and SIGINT, unless a loop device stands on it.

    Cancelled when serving has ended; nothing to leave behind.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            name = signal.Signals(number).name
            users = loops.loops_on(mountpoint)
            if not users:
                log.info("%s: unmounting %s", name, mountpoint)
                pyfuse3.terminate()
                return
            log.warning(
                "%s ignored: %s is attached; run 'zramfs swapoff %s'",
                name,
                " ".join(map(str, users)),
                mountpoint,
            )


def main() -> int:
    """Serve as the JSON in the command line says; return the exit status."""
    status = 0
    try:
        run(Config.from_json(sys.argv[1]))
    except* (ZramError, OSError) as group:
        for error in _flat(group):
            sys.stderr.write(f"zramfs: {sentence(error)}\n")
        status = 1
    except* Exception as group:
        log.critical("the mount has ended", exc_info=group)
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
