"""zramfs.mount.safety: what swap_safety shows."""

import os
from pathlib import Path

from zramfs.mount.measures import Measure, parse_measure
from zramfs.mount.reserve import Reserve
from zramfs.mount.safety import Safety
from zramfs.mount.watchdog import FaultWatch

REFUSED = Measure(
    name="PR_SET_IO_FLUSHER", refusal="not in a test", consequence="it may wait"
)


def test_every_measure_has_a_line_that_can_be_read(tmp_path: Path) -> None:
    safety = Safety(
        tmp_path, [REFUSED], faults=FaultWatch(lambda: 0), reserve=Reserve(lambda: 0)
    )

    lines = safety.show().splitlines()

    assert [parse_measure(line).name for line in lines] == [
        "PR_SET_IO_FLUSHER",
        "major faults",
        "reserve",
        "memory cgroup",
        "swap priority",
        "zswap",
        "FUSE_NOTIFY_RESEND",
        "supervisor",
        "mount namespace",
    ]
    assert lines[1] == "major faults: ok (none while serving)"


def test_a_measure_that_was_refused_keeps_its_reason(tmp_path: Path) -> None:
    safety = Safety(
        tmp_path, [REFUSED], faults=FaultWatch(lambda: 0), reserve=Reserve(lambda: 0)
    )

    assert safety.measures()[0].refusal == "not in a test"


def test_a_supervisor_that_has_died_is_told(tmp_path: Path) -> None:
    safety = Safety(tmp_path, faults=FaultWatch(lambda: 0), reserve=Reserve(lambda: 0))
    alive = safety.show()
    safety.supervisor_pid = lambda: 0

    assert f"supervisor: ok (process {os.getppid()})\n" in alive
    assert "supervisor: refused (it has died): if the worker dies" in safety.show()
