"""What a device is told with texts, in the form that outlives its process.

Numbers are words of the header, changed in place; this is the rest, written anew
as a whole whenever some of it changes.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from zramfs.core.codecs import (
    ALGORITHMS,
    DEFAULT_ALGORITHM,
    DEFAULTS,
    Codec,
    Params,
    open_codec,
)
from zramfs.errors import InvalidValue

MAX_ALGORITHMS: Final = 4
"""A primary and three secondaries (ZRAM_MAX_COMPS)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """The algorithms by priority, the primary first, and the backing device."""

    algorithms: Sequence[str | None] = (
        DEFAULT_ALGORITHM,
        *[None] * (MAX_ALGORITHMS - 1),
    )
    """Their names."""
    params: Sequence[Params] = (DEFAULTS,) * MAX_ALGORITHMS
    """Their parameters."""
    backing_dev: str | None = None
    """Path of the backing device."""

    def with_backing(self, path: str | None) -> Self:
        """Return this with the backing device at *path*."""
        return replace(self, backing_dev=path)

    def with_algorithm(self, priority: int, name: str) -> Self:
        """Return this with *name* in *priority*, with the default parameters."""
        # invariant: callers have looked *name* up.
        assert name in ALGORITHMS, name
        algorithms = [*self.algorithms]
        algorithms[priority] = name
        return replace(self, algorithms=algorithms).with_params(priority, DEFAULTS)

    def with_params(self, priority: int, chosen: Params) -> Self:
        """Return this with the parameters *chosen* in *priority*."""
        params = [*self.params]
        params[priority] = chosen
        return replace(self, params=params)

    def find(self, name: str, lowest: int) -> int:
        """Return the first priority from *lowest* on that uses *name*."""
        for priority in range(lowest, MAX_ALGORITHMS):
            if self.algorithms[priority] == name:
                return priority
        raise InvalidValue(f"{name} is not configured")

    def open_codecs(self) -> list[Codec | None]:
        """Make the algorithms ready; InvalidValue if one refuses its parameters."""
        return [
            open_codec(name, params) if name else None
            for name, params in zip(self.algorithms, self.params, strict=True)
        ]

    def to_json(self) -> bytes:
        """Return what `from_json` takes."""
        params = [
            {
                "level": each.level,
                "winbits": each.winbits,
                "dictionary": each.dictionary and b64encode(each.dictionary).decode(),
            }
            for each in self.params
        ]
        document = {
            "algorithms": [*self.algorithms],
            "params": params,
            "backing_dev": self.backing_dev,
        }
        return json.dumps(document).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Return what `to_json` wrote; the defaults if it never did."""
        if not text:
            return cls()
        document = json.loads(text)
        params = [
            Params(
                level=each["level"],
                winbits=each["winbits"],
                dictionary=each["dictionary"] and b64decode(each["dictionary"]),
            )
            for each in document["params"]
        ]
        return cls(
            algorithms=document["algorithms"],
            params=params,
            backing_dev=document["backing_dev"],
        )
