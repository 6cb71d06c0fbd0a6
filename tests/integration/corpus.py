"""Data to store: deterministic, and compressing as data does.

The corpus is the files of the system, concatenated, as tar would; it is the same
as long as the system is.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOTS: Final = (Path("/usr/lib"), Path("/usr/bin"), Path("/usr/share"))

_PATTERN: Final = b"the quick brown fox jumps over the lazy dog. "


def _files() -> Iterator[Path]:
    for root in _ROOTS:
        for directory, names, files in os.walk(root):
            names.sort()
            for name in sorted(files):
                yield Path(directory, name)


def system_files(length: int) -> bytes:
    """Return *length* bytes of files; again from the start if there are too few."""
    data = bytearray()
    while len(data) < length:
        for path in _files():
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    data += file.read(length - len(data))
            if len(data) == length:
                break
    return bytes(data)


def noise(length: int, seed: int = 0) -> bytes:
    """Return *length* bytes that do not compress."""
    return hashlib.shake_128(seed.to_bytes(8, "little")).digest(length)


def text(length: int) -> bytes:
    """Return *length* bytes that compress well and are not same-filled."""
    return (_PATTERN * (length // len(_PATTERN) + 1))[:length]
