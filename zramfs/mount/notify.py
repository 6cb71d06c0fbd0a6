"""Telling whoever waits for it that the mount is ready.

A service manager gets one datagram (sd_notify(3)); the packages that send it need
libsystemd or are not kept. Whoever started the mount gets one byte.
"""

import logging
import os
import socket

from zramfs.errors import MountRefused
from zramfs.mount.config import Config
from zramfs.mount.logs import leave_terminal

log = logging.getLogger("zramfs")


def notify(*assignments: str) -> None:
    """Send *assignments* such as ``READY=1`` to the service manager, if there is one.

    OSError if it cannot be reached.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.sendto("\n".join(assignments).encode(), address)


def tell_ready(config: Config) -> None:
    """Let whoever waits for it know that the mount is ready."""
    log.info("serving %s", config.mountpoint)
    if not config.foreground:
        leave_terminal()
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
