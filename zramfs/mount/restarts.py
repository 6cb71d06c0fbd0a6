"""When a worker that died is replaced, and when no more.

The first replacement comes at once: callers wait for it. A worker counts as a
failure if it did not come so far as to take what the one before it had left, or
if it crashed soon after, because what crashed it comes again. Being killed from
outside is no failure of one that served. Failures in a row come with longer and
longer pauses between, and after some of them the mount is given up: an error is
better than a hang.
"""

import signal
from dataclasses import dataclass
from typing import Final

_LIMIT: Final = 6
"""Failures in a row that end the mount, after about 3 seconds of pauses."""

_PAUSE_S: Final = 0.1
"""After the second failure; each further one doubles it."""

_SOON_S: Final = 10.0
"""A worker that crashes later than this has served well enough to be replaced."""


@dataclass(slots=True)
class Restarts:
    """The deaths of one mount's workers."""

    failures: int = 0
    """In a row."""

    def after(self, *, caught_up: bool, status: int, life_s: float) -> float | None:
        """Return how long to wait before the next worker; None to give up.

        *status* is negative for a signal, as in `subprocess`.
        """
        killed = status == -signal.SIGKILL
        if caught_up and (killed or life_s > _SOON_S):
            self.failures = 0
            return 0.0
        self.failures += 1
        if self.failures >= _LIMIT:
            return None
        return 0.0 if self.failures == 1 else _PAUSE_S * 2 ** (self.failures - 2)
