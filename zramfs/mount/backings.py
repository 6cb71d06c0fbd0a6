"""Opening backing devices, so that they outlive the worker that did it.

The supervisor holds the descriptor of each one in use, under its path. A worker that
takes over goes on with that, whatever has become of the path meanwhile; and while a
worker is replaced, nobody else gets hold of the device. If none was left to it, and the
device cannot be opened again, that costs the pages there, and nothing else.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final

from zramfs.core.header import Header
from zramfs.errors import ZramError, sentence
from zramfs.mount.config import Config
from zramfs.mount.lifeline import Lifeline
from zramfs.seal import make_sealer
from zramfs.spill import Spill, open_spill

log = logging.getLogger("zramfs")

_PREFIX: Final = "spill "
"""Before the path, in the name of what the supervisor holds."""


class Backings:
    """The backing devices of one mount."""

    __slots__ = ("_config", "_header", "_is_recovering", "_lifeline", "kept")

    def __init__(self, config: Config, header: Header, lifeline: Lifeline) -> None:
        self._config = config
        self._header = header
        self._lifeline = lifeline
        self._is_recovering = False
        self.kept: dict[str, int] = {}
        """Descriptors that workers before this one have left, by name."""

    @contextmanager
    def recovering(self, kept: Mapping[str, int]) -> Iterator[None]:
        """Open what the worker before had, of which *kept* is left, even if it fails.

        In place of what cannot be had is something that ends before its first block:
        pages there are EIO.
        """
        self.kept = dict(kept)
        self._is_recovering = True
        yield
        self._is_recovering = False

    def open(self, path: str) -> Spill:
        """Open the backing device at *path*, or go on with it."""
        sealer = make_sealer(self._config.encrypt, self._header)
        name = _PREFIX + path
        fd = self.kept.pop(name, None)
        if fd is None:
            try:
                # There is nothing to go on with in a file that is made anew.
                size = None if self._is_recovering else self._config.backing_size
                fd = open_spill(path, size)
            except (ZramError, OSError) as error:
                if not self._is_recovering:
                    raise
                why = sentence(error)
                log.error("%s is lost, with the pages there: %s", path, why)  # noqa: TRY400  # no traceback
                return Spill(os.open(os.devnull, os.O_RDONLY), path, sealer)
            path = os.path.realpath(path)
            name = _PREFIX + path
            self._lifeline.keep(name, fd)
        return Spill(fd, path, sealer, partial(self._lifeline.drop, name))
