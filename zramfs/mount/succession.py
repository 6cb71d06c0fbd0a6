"""An upgrade under way: a worker of another program on its way to serving.

    preparing --PREPARED--> the old one is stopped --its end--> taking over --READY-->

Until the old one is stopped it serves, and whatever goes wrong ends the upgrade
and nothing else. From then on the new one is the worker like any other.
"""

import os
import time
from dataclasses import dataclass, field
from typing import Final, Self

from zramfs.mount.channel import Word
from zramfs.mount.child import Child, Command
from zramfs.mount.upgrade import Petition

_PREPARE_S: Final = 30.0
"""An interpreter on a machine that is short of everything may take long."""

_STOP_S: Final = 10.0
"""A worker that has not stopped by then is killed, which costs nothing more."""


@dataclass(slots=True, kw_only=True, eq=False)
class Succession:
    """Who is to succeed the worker that serves."""

    petition: Petition
    child: Child
    said: int
    """What the new worker writes to stderr before its turn."""
    deadline_s: float = field(default_factory=lambda: time.monotonic() + _PREPARE_S)
    """When to lose patience."""
    is_stopping: bool = False
    """Whether the old worker has been told to end."""

    @classmethod
    def begin(
        cls, petition: Petition, config: str, memory: int, generation: int
    ) -> Self:
        """Start the worker that *petition* asks for."""
        program = petition.program
        command = Command(
            words=program.words(config), environment=program.environment()
        )
        said = os.memfd_create("stderr", os.MFD_CLOEXEC)
        child = command.start(memory, generation, stderr=said)
        return cls(petition=petition, child=child, said=said)

    def stop(self, old: Child) -> None:
        """Tell *old* to end."""
        self.is_stopping = old.is_stopping = True
        self.deadline_s = time.monotonic() + _STOP_S
        old.channel.send(Word.STOP)

    def extend(self) -> None:
        """Wait once more: what was too slow has been killed."""
        self.deadline_s = time.monotonic() + _STOP_S

    def why_failed(self, end: str) -> str:
        """Return what the new worker, whose *end* is known, has said of it."""
        text = os.pread(self.said, 1 << 16, 0).decode(errors="replace")
        lines = [*filter(None, map(str.strip, text.splitlines()))]
        return self.child.failure or (lines[-1] if lines else f"the new worker {end}")

    def close(self) -> None:
        """Forget what it said."""
        os.close(self.said)
