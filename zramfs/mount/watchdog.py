"""Noticing that the worker waited for a disk: a major fault while serving.

With all of its memory locked there is none. One says that something it needs was
not in memory, and that a request waited until it was.
"""

import logging
import resource
from collections.abc import Callable
from typing import Final

from zramfs.mount.measures import Measure

log = logging.getLogger("zramfs")

_SILENCE_S: Final = 600
"""From one warning to the next: whoever reads one knows of the trouble."""


def _major_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


class FaultWatch:
    """Counts the major faults of this process from `begin` on."""

    __slots__ = ("_count", "_first", "_seen", "_silent_until")

    def __init__(self, count: Callable[[], int] = _major_faults) -> None:
        self._count = count
        self._silent_until = 0.0
        self.begin()

    def begin(self) -> None:
        """Count from now on: what starting took is over."""
        self._first = self._seen = self._count()

    @property
    def nr_faults(self) -> int:
        """How many there have been."""
        return self._count() - self._first

    def look(self, now: float) -> None:
        """Warn of faults since the last look, if that was not done lately."""
        count = self._count()
        if count == self._seen:
            return
        self._seen = count
        if now < self._silent_until:
            return
        self._silent_until = now + _SILENCE_S
        log.warning(
            "the worker waited for a disk: %d major faults while serving; "
            "see zramfs/swap_safety",
            self.nr_faults,
        )

    def measure(self) -> Measure:
        """Return whether there were none."""
        return Measure(
            name="major faults",
            refusal=f"{self.nr_faults} while serving" if self.nr_faults else None,
            consequence="something it needs was not in memory; see mlockall",
            fact="none while serving",
        )
