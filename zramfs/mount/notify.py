"""Telling a service manager that the mount is ready (sd_notify(3)).

One datagram; the packages that send it need libsystemd or are not kept.
"""

import os
import socket


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
