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

from zramfs.core.attributes import ATTRIBUTES
from zramfs.core.device import Device
from zramfs.errors import MountRefused, ZramError, sentence
from zramfs.memory import MemFile
from zramfs.mount import loops, session
from zramfs.mount.bio import Bio
from zramfs.mount.config import Config
from zramfs.mount.control import CONTROL_FILES
from zramfs.mount.files import Files
from zramfs.mount.hardening import harden
from zramfs.mount.notify import notify
from zramfs.mount.operations import Operations
from zramfs.mount.tree import Tree
from zramfs.mount.upkeep import keep_compact

log = logging.getLogger("zramfs")

_SYSLOG: Final = "/dev/log"


_REPLY_TOO_LATE: Final = f"fuse_reply_* failed with {os.strerror(errno.ENOENT)}"
"""What pyfuse3 calls an error: the request had ended with the connection."""


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().endswith(_REPLY_TOO_LATE)


def start_logging(config: Config) -> None:
    """Log to where *config* says: a file, stderr, the system log, or nowhere."""
    handler: logging.Handler
    if config.log_file:
        handler = logging.FileHandler(config.log_file)
    elif config.foreground:
        handler = logging.StreamHandler()
    elif Path(_SYSLOG).exists():
        handler = logging.handlers.SysLogHandler(_SYSLOG)
    else:
        handler = logging.NullHandler()
    pattern = f"zramfs[{os.getpid()}]: %(levelname)s: %(message)s"
    handler.setFormatter(logging.Formatter(pattern))
    handler.addFilter(_is_news)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def make_device(settings: dict[str, str]) -> Device:
    """Return a device with *settings*, stored as an echo would, disksize last.

    The kernel wants disksize last too: it freezes most of the others.
    """
    device = Device(MemFile())
    for row in sorted(ATTRIBUTES.values(), key=lambda row: row.initialises):
        if row.name in settings:
            row.store(device, settings[row.name])
    return device


def run(config: Config) -> None:
    """Mount and serve until the end; whatever is raised, nothing stays mounted."""
    mountpoint = Path(config.mountpoint)
    with ExitStack() as stack:
        session.check_mountpoint(mountpoint)
        start_logging(config)
        for measure in harden():
            if measure.refusal:
                log.warning("%s", measure)
        device = make_device(config.settings)
        tree = Tree(ATTRIBUTES.values(), CONTROL_FILES)
        bio = Bio(device)
        operations = Operations(device, tree, Files(device, tree, bio))
        connection = session.connect(mountpoint)
        stack.callback(session.disconnect, mountpoint, connection)
        # libfuse closes what it is given.
        pyfuse3.init(operations, f"/dev/fd/{os.dup(connection)}", set())
        stack.callback(pyfuse3.close, unmount=False)
        trio.run(_serve, mountpoint, config, device, bio)


async def _serve(mountpoint: Path, config: Config, device: Device, bio: Bio) -> None:
    """Serve until unmounted or told to end.

    Cancelled only from within, when serving has ended.
    """
    async with trio.open_nursery() as nursery:
        await nursery.start(_end_on_signal, mountpoint)
        nursery.start_soon(keep_compact, device, bio)
        _tell_ready(config)
        await pyfuse3.main()
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
