"""What outlives a worker: the descriptors that a supervisor holds.

Nobody else but the worker in turn has the connection, so that the kernel ends it
when both have died.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from zramfs.errors import MountRefused
from zramfs.mount import session
from zramfs.mount.session import FS_TYPE


@dataclass(slots=True, kw_only=True)
class Holdings:
    """The descriptors of one mount."""

    mountpoint: Path
    memory: int
    connection: int | None = None
    """/dev/fuse, once it is mounted."""
    kept: dict[str, int] = field(default_factory=dict)
    """What workers have opened and their successors need, by name."""
    _device: str = ""
    """MAJOR:MINOR of the mount, by which it is told from a later one."""

    def connect(self) -> int:
        """Mount, if it has not been; return the connection."""
        if self.connection is None:
            self.connection = session.connect(self.mountpoint)
            self._device = self._mounted()
        return self.connection

    def _mounted(self) -> str:
        """Return MAJOR:MINOR of what is mounted here last, nothing if none is ours."""
        devices = [
            mount.device
            for mount in session.mounts()
            if mount.path == self.mountpoint and mount.fs_type == FS_TYPE
        ]
        return devices[-1] if devices else ""

    def keep(self, name: str, fd: int) -> None:
        """Hold *fd* under *name*, in place of what was held."""
        self.drop(name)
        self.kept[name] = fd

    def drop(self, name: str) -> None:
        """Close what is held under *name*."""
        fd = self.kept.pop(name, None)
        if fd is not None:
            os.close(fd)

    def unmount(self) -> None:
        """Unmount, if it still is mounted.

        Lazily: whoever has it open gets ENOTCONN from now on.
        """
        if self._device and self._device == self._mounted():
            with suppress(MountRefused):
                session.unmount(self.mountpoint, lazy=True)

    def close(self) -> None:
        """Close everything; the connection ends with that."""
        for name in [*self.kept]:
            self.drop(name)
        if self.connection is not None:
            os.close(self.connection)
            self.connection = None
        os.close(self.memory)
