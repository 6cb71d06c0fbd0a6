"""What an error becomes on the wire: the one place where errors turn into errnos."""

import errno
import logging

from zramfs.errors import ReadFailed, ZramError

log = logging.getLogger(__name__)


def errno_of(error: Exception, request: str) -> int:
    """Return the errno that the caller of *request* sees.

    What nobody expected is EIO, and leaves a traceback in the log: it costs that
    one request, never the mount.
    """
    if isinstance(error, ReadFailed):
        log.error("%s: %s", request, error)
    if isinstance(error, ZramError):
        return error.errno
    if isinstance(error, OSError):
        return error.errno or errno.EIO
    log.error("%s failed", request, exc_info=error)
    return errno.EIO
