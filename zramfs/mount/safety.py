"""How able this process is to serve a swap device: the text of ``swap_safety``."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from zramfs.mount import cgroups, loops, surroundings
from zramfs.mount.hardening import IO_FLUSHER, verified
from zramfs.mount.measures import Measure, show_measures
from zramfs.mount.reserve import Reserve
from zramfs.mount.watchdog import FaultWatch

_NO_NAMESPACE: Final = Measure(
    name="mount namespace",
    fact="that of its mounter: in one of its own the mount would outlive umount",
)


class Safety:
    """The measures of one worker: those *taken* at its start, and what is around it."""

    __slots__ = ("_mountpoint", "_taken", "faults", "reserve", "supervisor_pid")

    def __init__(
        self,
        mountpoint: Path,
        taken: Iterable[Measure] = (),
        *,
        faults: FaultWatch,
        reserve: Reserve,
    ) -> None:
        self._mountpoint = mountpoint
        self._taken = tuple(taken)
        self.faults = faults
        self.reserve = reserve
        self.supervisor_pid: Callable[[], int] = os.getppid
        """Tells who restarts this process, 0 if nobody does any more."""

    def measures(self) -> list[Measure]:
        """Return every measure, as the kernel shows it now."""
        taken = verified(self._taken)
        flusher = any(m.name == IO_FLUSHER and m.refusal is None for m in taken)
        return [
            *taken,
            self.faults.measure(),
            self.reserve.measure(),
            surroundings.cgroup_measure(cgroups.memory_groups(), io_flusher=flusher),
            *surroundings.loop_measures(self._mountpoint),
            surroundings.priority_measure(
                loops.swap_priorities(), loops.loops_on(self._mountpoint)
            ),
            surroundings.zswap_measure(),
            surroundings.resend_measure(os.uname().release),
            surroundings.supervisor_measure(self.supervisor_pid()),
            _NO_NAMESPACE,
        ]

    def show(self) -> str:
        """Return a line for each measure."""
        return show_measures(self.measures())
