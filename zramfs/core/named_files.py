"""The files that stores name: where a path begins, and what is in a dictionary.

The core opens no file. Whoever makes a device says how one is read.
"""

import posixpath
from collections.abc import Callable

from zramfs.errors import InvalidValue


class NamedFiles:
    """How one device finds files; *read_file* reads one, in whatever thread."""

    __slots__ = ("_read_file", "cwd")

    def __init__(self, read_file: Callable[[str], bytes] | None) -> None:
        self._read_file = read_file
        self.cwd = ""
        """Directory of whoever stores next; "" is that of this process."""

    def resolve(self, path: str) -> str:
        """Return *path*, which may be relative to `cwd`, as this process finds it."""
        return posixpath.join(self.cwd, path)

    def read_dictionary(self, path: str) -> bytes:
        """Return the file at *path*; InvalidValue if it is empty or no file."""
        # invariant: whoever offers dictionaries says how to read them.
        assert self._read_file, path
        data = self._read_file(path)
        if not data:
            raise InvalidValue(f"{path} is empty")
        return data
