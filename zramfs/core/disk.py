"""The block device that stands on the swapfile, as the kernel tells of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The block device that stands on the swapfile."""

    name: str
    dev: str
    """MAJOR:MINOR."""
    diskseq: str

    def uevent(self) -> str:
        """Return what the kernel tells of it, in its format."""
        major, _, minor = self.dev.partition(":")
        return (
            f"MAJOR={major}\nMINOR={minor}\nDEVNAME={self.name}\nDEVTYPE=disk\n"
            f"DISKSEQ={self.diskseq}\n"
        )
