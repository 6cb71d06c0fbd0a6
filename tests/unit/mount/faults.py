"""Faults where the system answers: below a spill's I/O, which is the real one.

Threads ask preadv(2) and pwritev(2); what the kernel does by itself is begun with
`Aio.prepare` and comes back from `Aio.reap`.
"""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio

from zramfs.mount.aio import Aio
from zramfs.mount.spill_io import SpillIo, Transfer
from zramfs.units import PAGE_SIZE

SHORT: Final = 0
END: Final = -1
LATE: Final = -2
REFUSED: Final = -3
"""Beside errnos: half of it is transferred, nothing because the file ends there, all
of it but long after, and all of it but not by the kernel, which does not begin it."""

_NO_FD: Final = 1 << 30

Call = Callable[[int, list[memoryview], int], int]
Ended = list[tuple[Transfer, int]]


class Faults:
    """What happens to the transfers of *io*, with the file at *path*."""

    def __init__(self, io: SpillIo, path: Path, patch: pytest.MonkeyPatch) -> None:
        self._io = io
        self._lock = threading.Lock()
        self._left: list[int] = []
        self._first = self._nr_begun = self._nr_ended = 0
        self.nr_happened = 0
        """Of the faults that were planned."""
        # Each lets a transfer that is late end.
        self._held: list[Callable[[], None]] = []
        self._released: Ended = []
        # Told of whatever happens, as whoever ends transfers is.
        self._told = os.dup(io._eventfd)
        # Direct I/O transfers no half pages.
        self._buffered = os.open(path, os.O_RDWR)
        patch.setattr(os, "preadv", self._calling(os.preadv))
        patch.setattr(os, "pwritev", self._calling(os.pwritev))
        patch.setattr(Aio, "prepare", self._preparing(Aio.prepare))
        patch.setattr(Aio, "reap", self._reaping(Aio.reap))

    def close(self) -> None:
        self.release()
        os.close(self._buffered)
        os.close(self._told)

    def plan(self, first: int, faults: Sequence[int]) -> None:
        """Have *faults* happen, one after the other, from transfer *first* on."""
        with self._lock:
            self._first, self._left = first, [*faults]
            self._nr_begun = self._nr_ended = self.nr_happened = 0

    def stop(self) -> None:
        """Have nothing more happen."""
        with self._lock:
            self._first = sys.maxsize

    @property
    def nr_held(self) -> int:
        """How many transfers are late."""
        return len(self._held)

    async def wait(self) -> None:
        """Wait until a transfer has ended, or is late."""
        await trio.lowlevel.wait_readable(self._told)

    def release(self) -> None:
        """Let what is late end."""
        with self._lock:
            held, self._held = self._held, []
        for end in held:
            end()
        self._io.reap()

    def _take(self) -> int | None:
        """Return what happens to a transfer that ends, None if it works."""
        with self._lock:
            number, self._nr_ended = self._nr_ended, self._nr_ended + 1
            if number < self._first or not self._left or self._left[0] == REFUSED:
                return None
            self.nr_happened += 1
            return self._left.pop(0)

    def _is_refused(self) -> bool:
        """Whether the kernel refuses to begin a transfer."""
        with self._lock:
            number, self._nr_begun = self._nr_begun, self._nr_begun + 1
            if number < self._first or self._left[:1] != [REFUSED]:
                return False
            self.nr_happened += 1
            del self._left[0]
            return True

    def _hold(self, end: Callable[[], None]) -> None:
        with self._lock:
            self._held.append(end)
        os.eventfd_write(self._io._eventfd, 1)

    def _calling(self, call: Call) -> Call:
        def calling(fd: int, buffers: list[memoryview], offset: int) -> int:
            [view] = buffers
            fault = self._take()
            if fault == END:
                return 0
            if fault == SHORT:
                view = view[: len(view) // 2]
            elif fault == LATE:
                released = threading.Event()
                self._hold(released.set)
                released.wait()
            elif fault:
                raise OSError(fault, os.strerror(fault))
            if offset % PAGE_SIZE or len(view) % PAGE_SIZE:
                fd = self._buffered
            return call(fd, [view], offset)

        return calling

    def _preparing(self, prepare: Callable[..., int]) -> Callable[..., int]:
        def preparing(
            aio: Aio[Transfer], transfer: Transfer, fd: int, *args: int, writes: bool
        ) -> int:
            if self._is_refused():
                fd = _NO_FD
            return prepare(aio, transfer, fd, *args, writes=writes)

        return preparing

    def _reaping(
        self, reap: Callable[[Aio[Transfer]], Ended]
    ) -> Callable[[Aio[Transfer]], Ended]:
        def reaping(aio: Aio[Transfer]) -> Ended:
            ended, self._released = self._released, []
            for transfer, result in reap(aio):
                fault = self._take()
                if fault is None:
                    ended.append((transfer, result))
                elif fault == LATE:
                    self._hold(partial(self._let_end, transfer, result))
                else:
                    ended.append((transfer, self._undo(transfer, fault)))
            return ended

        return reaping

    def _undo(self, transfer: Transfer, fault: int) -> int:
        """Spoil what *fault* says was not transferred; return the result then."""
        done = len(transfer.view) // 2 if fault == SHORT else 0
        rest = b"!" * (len(transfer.view) - done)
        if transfer.writes:
            start = transfer.block * PAGE_SIZE + done
            os.pwrite(self._buffered, rest, start)
        else:
            transfer.view[done:] = rest
        return -fault if fault > 0 else done

    def _let_end(self, transfer: Transfer, result: int) -> None:
        self._released.append((transfer, result))
