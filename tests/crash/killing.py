"""Killing workers of a mount at random moments, and who answers then."""

import os
import random
import select
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.conftest import Report
from tests.integration.files import opened
from tests.integration.mounts import Mount
from tests.integration.stats import MmStat

_SETTLE_S: Final = 0.05
"""The longest that a worker serves before it is killed; it has begun to, then."""

_LIMIT_S: Final = 60.0

_QUIET_S: Final = 0.5
"""When nothing has moved for so long, nothing does; the kernel discards the swap of a
hog that has ended a cluster at a time."""

_QUIET_LIMIT_S: Final = 20.0

_MOVES: Final = {"mem_used_total": 0, "pages_compacted": 0}

RESTARTED: Final = r"WARNING: worker \d+ was killed by SIGKILL: starting another"


class Killer:
    """Kills the worker of *mount* again and again; *seed* makes the moments."""

    def __init__(self, mount: Mount, seed: int) -> None:
        self._mount = mount
        self._pause = random.Random(seed).uniform
        self.seed = seed
        self.times_s: list[float] = []
        """From each death to the first answer of the next worker."""

    def kill(self) -> None:
        """Kill the worker after a random while, and wait for the next one's answer."""
        worker = os.pidfd_open(self._mount.pid)
        try:
            time.sleep(self._pause(0, _SETTLE_S))
            signal.pidfd_send_signal(worker, signal.SIGKILL)
            dead, _, _ = select.select([worker], [], [], _LIMIT_S)
            died = time.perf_counter()
        finally:
            os.close(worker)
        assert dead, "the worker does not die"
        with opened(self._mount.swapfile, os.O_RDONLY) as fd:
            os.pread(fd, 4096, 0)
        self.times_s.append(time.perf_counter() - died)

    def kill_often(self, count: int) -> None:
        """Do that *count* times."""
        for _ in range(count):
            self.kill()

    @contextmanager
    def killing(self) -> Iterator[None]:
        """Do it again and again in a thread, until this ends."""
        stop = threading.Event()
        errors: list[BaseException] = []

        def run() -> None:
            try:
                while not stop.is_set():
                    self.kill()
            except BaseException as error:  # noqa: BLE001  # raised in the test
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(_LIMIT_S)
        if errors:
            raise errors[0]

    def report(self, report: Report, under: str) -> None:
        """Say how long nobody answered."""
        median, worst = statistics.median(self.times_s), max(self.times_s)
        report(
            f"{len(self.times_s)} kill -9 of the worker under {under}: first answer "
            f"after {median * 1000:.0f} ms (p50), {worst * 1000:.0f} ms (max); "
            f"seed {self.seed}"
        )


def new_seed() -> int:
    """Return a seed that no run had before; ZRAMFS_SEED repeats one."""
    return int(os.environ.get("ZRAMFS_SEED") or random.SystemRandom().getrandbits(32))


def assert_derived(mount: Mount) -> None:
    """Fail unless the counters are those that the slots add up to.

    A worker that takes over derives them from the slots: what the one before it
    counted must be the same. mem_used_total may be less then: a class may have given
    back its tail, or the upkeep compacted.
    """
    before, held = _settled(mount), mount.memfd_bytes()
    Killer(mount, 0).kill()
    after = mount.mm_stat()
    assert after._replace(**_MOVES) == before._replace(**_MOVES)
    assert after.mem_used_total <= before.mem_used_total
    assert mount.memfd_bytes() <= held


def _settled(mount: Mount) -> MmStat:
    """Return mm_stat when nothing moves any more: swap is discarded behind a hog."""
    deadline = time.monotonic() + _QUIET_LIMIT_S
    found = mount.mm_stat()
    while time.monotonic() < deadline:
        time.sleep(_QUIET_S)
        before, found = found, mount.mm_stat()
        if found == before:
            break
    return found
