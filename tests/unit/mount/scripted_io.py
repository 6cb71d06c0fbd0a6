"""A spill whose transfers end, and fail, when the test says so."""

import errno
import os
from typing import Final

import trio

from zramfs.mount.spill_io import Failure, SpillIo, Transfer

SHORT: Final = 0
HANG: Final = -1
"""Beside errnos: half of it is transferred, or it does not end."""


class ScriptedIo(SpillIo):
    """Transfers that end when the test says so, and fail when it says so.

    *faults* are an errno, SHORT or HANG by the number of the transfer.
    """

    def __init__(self) -> None:
        super().__init__(0)
        self.faults: dict[int, int] = {}
        self.nr_started = 0
        self.is_held = False
        self.waiting: list[tuple[Transfer, Failure]] = []

    def start(self, transfer: Transfer) -> None:
        fault = self.faults.get(self.nr_started)
        self.nr_started += 1
        self.nr_in_flight += 1
        transfer.spill.hold()
        failure: Failure = None
        if fault == SHORT:
            half = Transfer(
                transfer.spill,
                transfer.block,
                transfer.view[: len(transfer.view) // 2],
                transfer.address,
                lambda _view, _failure: None,
                transfer.writes,
            )
            half.run()
            failure = OSError(errno.EIO, "half of it")
        elif fault is None or fault == HANG:
            failure = transfer.run()
        else:
            failure = OSError(fault, os.strerror(fault))
        self.waiting.append((transfer, failure))
        if fault != HANG and not self.is_held:
            trio.lowlevel.current_trio_token().run_sync_soon(self.land)

    def land(self) -> None:
        """End what has been transferred."""
        waiting, self.waiting = self.waiting, []
        for transfer, failure in waiting:
            self._end(transfer, failure)
