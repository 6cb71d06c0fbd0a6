"""Fetching: written-back pages on their way from the backing device.

Pages in adjacent blocks are read together. Each is looked at when it has come: what
is not what was written there is an error of the request, never a page. The pages of
one request come in any order, and it ends with the last of them.
"""

import errno
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Final

from zramfs.core.spilled import Spilled
from zramfs.core.stats import Counters
from zramfs.errors import (
    CorruptBlock,
    CorruptPage,
    SpillReadFailed,
    ZramError,
    sentence,
)
from zramfs.mount.spill_io import READ_BYTES, Failure, SpillIo
from zramfs.spill import Spill
from zramfs.units import PAGE_SHIFT, PAGE_SIZE

log = logging.getLogger(__name__)

_MOST: Final = READ_BYTES >> PAGE_SHIFT

_by_block: Final = attrgetter("block")


def adjacent(spilled: Sequence[Spilled]) -> Iterator[Sequence[Spilled]]:
    """Yield *spilled* in runs of adjacent blocks that one read can have.

    Pages next to each other often lie in descending blocks: writeback begins with
    the last.
    """
    ordered = sorted(spilled, key=_by_block)
    start = 0
    for end in range(1, len(ordered) + 1):
        if (
            end == len(ordered)
            or ordered[end].block != ordered[end - 1].block + 1
            or end - start == _MOST
        ):
            yield ordered[start:end]
            start = end


def opened(
    spill: Spill,
    counters: Counters,
    spilled: Spilled,
    block: memoryview,
    failure: Failure,
) -> bytes | SpillReadFailed:
    """Return the page that was read as *block*; or what it is lost to, logged."""
    if failure is None:
        try:
            return spilled.page(spill.sealer.open(block, spilled.seal))
        except (CorruptBlock, CorruptPage) as error:
            counters.bd_corrupt_blocks += 1
            return _lost(spill, spilled, error)
        except MemoryError:
            failure = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    if isinstance(failure, OSError):
        counters.bd_read_errors += 1
    else:
        counters.bd_short_reads += 1
    return _lost(spill, spilled, failure)


def _lost(
    spill: Spill, spilled: Spilled, error: ZramError | OSError
) -> SpillReadFailed:
    failed = SpillReadFailed(
        f"page {spilled.index} in block {spilled.block} of {spill.path}: "
        f"{sentence(error)}"
    )
    log.error("%s", failed)
    return failed


class Fetch:
    """The pages that a request waits for; *end* is called when all have ended.

    Until then their blocks must be pinned if the pages are to be of any use.
    """

    __slots__ = ("_counters", "_end", "_error", "_io", "_nr_left", "_pages", "_spill")

    def __init__(
        self,
        io: SpillIo,
        spill: Spill,
        counters: Counters,
        end: Callable[["Fetch"], None],
    ) -> None:
        self._io = io
        self._spill = spill
        self._counters = counters
        self._end = end
        self._pages: dict[Spilled, bytes] = {}
        self._error: SpillReadFailed | None = None
        self._nr_left = 0

    def start(self, spilled: Sequence[Spilled]) -> None:
        """Begin to read, with at least one page."""
        self._nr_left = len(spilled)
        for run in adjacent(spilled) if len(spilled) > 1 else (spilled,):
            end_io = partial(self._end_io, run)
            self._io.read(self._spill, run[0].block, len(run), end_io)

    def pages(self) -> dict[Spilled, bytes]:
        """Return the pages; SpillReadFailed if one of them has not come."""
        if self._error:
            raise self._error
        return self._pages

    def _end_io(
        self, run: Sequence[Spilled], view: memoryview, failure: Failure
    ) -> None:
        if failure and len(run) > 1:  # one by one, to find which
            for spilled in run:
                end_io = partial(self._end_io, (spilled,))
                self._io.read(self._spill, spilled.block, 1, end_io)
            return
        for place, spilled in enumerate(run):
            start = place << PAGE_SHIFT
            block = view[start : start + PAGE_SIZE]
            page = opened(self._spill, self._counters, spilled, block, failure)
            if isinstance(page, bytes):
                self._pages[spilled] = page
            else:
                self._error = page
        self._nr_left -= len(run)
        if not self._nr_left:
            self._end(self)
