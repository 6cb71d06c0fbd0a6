"""Opening backing devices, so that they outlive the worker that did it.

The supervisor holds the descriptor of each one in use, under its path. A worker that
takes over goes on with that, whatever has become of the path meanwhile; and while a
worker is replaced, nobody else gets hold of the device.
"""

import os
from functools import partial
from typing import Final

from zramfs.core.header import Header
from zramfs.mount.config import Config
from zramfs.mount.lifeline import Lifeline
from zramfs.seal import make_sealer
from zramfs.spill import Spill, open_spill

_PREFIX: Final = "spill "
"""Before the path, in the name of what the supervisor holds."""


class Backings:
    """The backing devices of one mount."""

    __slots__ = ("_config", "_header", "_lifeline", "kept")

    def __init__(self, config: Config, header: Header, lifeline: Lifeline) -> None:
        self._config = config
        self._header = header
        self._lifeline = lifeline
        self.kept: dict[str, int] = {}
        """Descriptors that workers before this one have left, by name."""

    def open(self, path: str) -> Spill:
        """Open the backing device at *path*, or go on with it."""
        sealer = make_sealer(self._config.encrypt, self._header)
        name = _PREFIX + path
        fd = self.kept.pop(name, None)
        if fd is None:
            fd = open_spill(path, self._config.backing_size)
            path = os.path.realpath(path)
            name = _PREFIX + path
            self._lifeline.keep(name, fd)
        return Spill(fd, path, sealer, partial(self._lifeline.drop, name))
