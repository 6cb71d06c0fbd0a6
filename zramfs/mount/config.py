"""What a worker is told when it starts."""

import json
from dataclasses import asdict, dataclass
from typing import Final, Self

LANE: Final = "lane"
DATA_PATHS: Final = (LANE, "pyfuse3")
"""Who reads /dev/fuse: zramfs itself, or pyfuse3 for it. The first is the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One mount."""

    mountpoint: str
    """Absolute path."""
    settings: dict[str, str]
    """Values of attributes by name, as one would echo them."""
    data_path: str
    """One of DATA_PATHS."""
    foreground: bool
    """Whether stderr is the log."""
    log_file: str | None
    """Where to log instead of stderr or the system log."""
    backing_size: int | None = None
    """Bytes of the backing file that is made if there is none."""
    encrypt: str | None = None
    """The cipher that written-back pages are encrypted with, one of CIPHERS."""
    ready_fd: int | None = None
    """Where to write a byte when the mount is ready."""

    def to_json(self) -> str:
        """Return what `from_json` takes."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the configuration that `to_json` wrote."""
        return cls(**json.loads(text))
