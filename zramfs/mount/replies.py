"""Answers on the wire; the one place where errors turn into errnos."""

import errno
import logging
import os
from typing import Final

from zramfs.errors import ReadFailed, ZramError
from zramfs.mount.wire import OUT_HEADER

log = logging.getLogger(__name__)

_GONE: Final = frozenset({errno.ENOENT, errno.ENODEV, errno.ECONNABORTED})
"""Errors of writing a reply whose request, or whose mount, is gone."""


def reply(connection: int, *parts: bytes) -> None:
    """Write an answer to /dev/fuse, if there still is somebody to hear it."""
    try:
        os.writev(connection, parts)
    except OSError as error:
        if error.errno not in _GONE:
            raise


def errno_of(error: Exception, request: str) -> int:
    """Return the errno that the caller of *request* sees.

    What nobody expected is EIO, and leaves a traceback in the log: it costs that
    one request, never the mount.
    """
    if isinstance(error, ReadFailed):
        # As text: a kept record would keep the error's frames, and what they map.
        log.error("%s: %s", request, str(error))
    if isinstance(error, ZramError):
        return error.errno
    if isinstance(error, OSError):
        return error.errno or errno.EIO
    log.error("%s failed", request, exc_info=error)
    return errno.EIO


def refuse(connection: int, unique: int, error: Exception, opcode: int) -> None:
    """Write the answer of a request that *error* came of."""
    number = errno_of(error, f"FUSE request {opcode}")
    reply(connection, OUT_HEADER.pack(OUT_HEADER.size, -number, unique))
