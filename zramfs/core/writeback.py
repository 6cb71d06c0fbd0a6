"""Writeback: a pass that moves stored pages to the backing device.

It marks its targets in the slots (PP_SLOT), the largest stored size first and within
64 bytes of size the last one found first, as the kernel does. Then it asks to be
written: whoever does that takes one run of pages after the other, as many at a time
as it likes, and says of each page whether it was written.

In between anything may happen: a page that is read, written or discarded meanwhile
loses its claim and stays in memory, and its block is free again.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from zramfs.core.backing import BackingDev
from zramfs.core.slots import NO_WB, PP_SLOT, SAME, SIZE_MASK, WB
from zramfs.core.stats import Counters
from zramfs.core.steps import Run, Steps
from zramfs.core.store import Store
from zramfs.core.table import Indexes
from zramfs.errors import BackingDeviceFull, WritebackLimitReached, ZramError
from zramfs.units import PAGE_SHIFT

_BUCKET_SHIFT: Final = np.uint64(6)  # PP_BUCKET_SIZE_RANGE

_NEVER: Final = np.uint64(SAME | WB | NO_WB)
"""Flags of pages that have nothing to write, or must stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Pages to look at, and the flags that they must all have."""

    start: int
    stop: int
    mode: int


class Writeback:
    """One pass."""

    __slots__ = ("_backing", "_counters", "_error", "_store", "_targets")

    def __init__(self, store: Store, backing: BackingDev, counters: Counters) -> None:
        self._store = store
        self._backing = backing
        self._counters = counters
        # What is left to do, the next at the end.
        self._targets: Indexes = np.empty(0, np.int64)
        self._error: ZramError | OSError | None = None

    def steps(self, scans: Sequence[Scan]) -> Steps:
        """Choose what *scans* find, and ask that it be written.

        Raises the last error that there was, if any. Closed before its end, it
        leaves the rest in memory; runs in flight may be committed or failed then,
        and merely give up their blocks.
        """
        try:
            yield from self._mark(scans)
            yield self
        finally:
            self._targets = self._targets[:0]
            self._store.claims.end_pass()
        if self._error:
            raise self._error

    def _mark(self, scans: Sequence[Scan]) -> Steps:
        found = [self._targets]
        sizes = [np.empty(0, np.uint64)]
        for scan in scans:
            mode = np.uint64(scan.mode)
            for start, words in self._store.table.scan(scan.start, scan.stop):
                chosen = np.flatnonzero(
                    (words & np.uint64(SIZE_MASK) != 0)
                    & (words & _NEVER == 0)
                    & (words & mode == mode)
                )
                words[chosen] |= np.uint64(PP_SLOT)
                found.append(chosen + start)
                sizes.append(words[chosen] & np.uint64(SIZE_MASK))
                yield None
        buckets = np.concatenate(sizes) >> _BUCKET_SHIFT
        order = np.argsort(buckets, kind="stable")
        self._targets = np.concatenate(found)[order]

    def take(self, buffer: memoryview) -> Run | None:
        """Do as `Writes` says; stop where the limit or the blocks end."""
        while self._targets.size:
            most = min(len(buffer) >> PAGE_SHIFT, self._targets.size)
            is_charged = self._backing.is_limited
            try:
                blocks = self._store.blocks.alloc(self._affordable(most))
            except (BackingDeviceFull, WritebackLimitReached) as error:
                self._error = error
                self._targets = self._targets[:0]
                return None
            left = self._targets.size - len(blocks)
            wanted = self._targets[left:][::-1]
            self._targets = self._targets[:left]
            run = Run(indexes=[], blocks=blocks, is_charged=is_charged)
            self._load(run, wanted, buffer)
            if run.indexes:
                return run
        return None

    def _affordable(self, most: int) -> int:
        """Return how many of *most* pages the limit has room for."""
        if not self._backing.is_limited:
            return most
        if not self._backing.limit:
            raise WritebackLimitReached(f"{self._targets.size} pages are left")
        return min(most, self._backing.limit)

    def _load(self, run: Run, wanted: Indexes, buffer: memoryview) -> None:
        """Claim those *wanted* that are still chosen, and charge for them."""
        chosen = self._store.claims.claim_many(wanted, run)
        run.wait = self._store.begin_load(chosen, buffer)
        loaded = chosen if run.wait else self._store.load(chosen, buffer)
        self._keep(run, chosen, loaded)
        if run.is_charged:
            self._backing.limit -= len(run.indexes)

    def _keep(self, run: Run, claimed: Sequence[int], loaded: Sequence[int]) -> None:
        """Give up the claims, and the blocks, of pages that could not be *loaded*."""
        run.indexes = loaded
        nr_pages = len(loaded)
        if nr_pages < len(claimed):
            for index in set(claimed).difference(loaded):
                self._store.claims.drop(index, run)
        for block in run.blocks[nr_pages:]:
            self._store.blocks.free(block)
        run.blocks = run.blocks[:nr_pages]

    def reload(self, run: Run, buffer: memoryview) -> None:
        """Do as `Writes` says: which page is corrupt is found one by one."""
        nr_charged = len(run.indexes)
        claimed = self._store.claims.kept(run.indexes, run)
        self._keep(run, claimed, self._store.load(claimed, buffer))
        if run.is_charged:
            self._backing.limit += nr_charged - len(run.indexes)

    def commit(self, run: Run, start: int, stop: int, seals: bytes) -> None:
        """Do as `Writes` says, and count all pages, also those that have changed."""
        blocks = run.blocks[start:stop]
        self._store.blocks.set_seals(blocks.start, seals)
        self._counters.bd_writes += len(blocks)
        self._store.spill(run.indexes[start:stop], blocks, run)

    def fail(self, run: Run, start: int, stop: int, error: ZramError | OSError) -> None:
        """Do as `Writes` says, and give back what they were charged."""
        if error.errno == errno.EPERM:  # of a read-only device: EIO in the block layer
            error = OSError(errno.EIO, str(error))
        self._error = error
        for index, block in zip(
            run.indexes[start:stop], run.blocks[start:stop], strict=True
        ):
            self._store.claims.drop(index, run)
            self._store.blocks.free(block)
        if run.is_charged:
            self._backing.limit += stop - start
