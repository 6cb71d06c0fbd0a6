"""Where the processes of a mount log to."""

import errno
import logging
import logging.handlers
import os
from pathlib import Path
from typing import Final

from zramfs.mount.config import Config

_SYSLOG: Final = "/dev/log"

_REPLY_TOO_LATE: Final = f"fuse_reply_* failed with {os.strerror(errno.ENOENT)}"
"""What pyfuse3 calls an error: the request had ended with the connection."""


def begin_log(config: Config) -> None:
    """Log to where *config* says from now on."""
    logging.basicConfig(level=logging.INFO, handlers=[log_handler(config)])


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


def leave_terminal() -> None:
    """Let go of the standard files, and of the working directory."""
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    os.close(null)
