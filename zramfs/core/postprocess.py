"""Post-processing: passes over stored pages that nobody is reading or writing.

A pass first scans the table and marks its targets (PP_SLOT), then works on them,
the largest first, as the kernel does since 6.13: targets are sorted by size in
steps of 64 bytes, and within one step by descending index. Any access takes the
mark off, and the pass leaves that page alone.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from zramfs.core.claims import Claim
from zramfs.core.codecs import Codec, Stored
from zramfs.core.slots import (
    INCOMPRESSIBLE,
    PP_SLOT,
    PRIORITY_MASK,
    PRIORITY_SHIFT,
    SAME,
    SIZE_MASK,
    WB,
)
from zramfs.core.steps import Steps, Work
from zramfs.core.store import Store
from zramfs.core.table import Indexes
from zramfs.core.zsmalloc import class_index
from zramfs.units import PAGE_SHIFT

_BUCKET_SHIFT: Final = 6  # PP_BUCKET_SIZE_RANGE

_BATCH_MANY: Final = 1024
"""Pages compressed by one call on all processors: 10 ms with zstd. The library starts
its threads, with their tables, anew for each call: with 256 pages that is a third."""

_BATCH: Final = 64
"""Pages compressed one by one: 1 to 10 ms."""

_AT_ONCE: Final = 128
"""Pages claimed, or exchanged, in one step: about 0.3 ms."""

_WASTE_SHIFT: Final = 2
"""Objects leave holes in the classes that they come from. A pass that is to save
memory must not need half as much again meanwhile: at a quarter it compacts. At an
eighth that would take as long as the exchanges do."""

_CompressMany = Callable[[list[bytes]], Sequence[Stored]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recompression:
    """What one write to `recompress` asks for."""

    mode: int
    """Flags that a slot must have."""
    threshold: int
    """Smallest stored size worth the work, and the size to get below; 0 is none."""
    max_pages: int | None
    """How many pages to try at most."""
    priority: int
    """The algorithm to use."""
    is_last: bool
    """Whether no algorithm has a higher priority: who fails is incompressible."""


def recompress(store: Store, codec: Codec, request: Recompression) -> Steps:
    """Store pages anew with *codec* where that puts them into a smaller class.

    Stopped between two steps, it leaves the pages not yet done as they were.
    """
    try:
        targets = yield from _mark_targets(store, request)
        yield from _Pass(store, codec, request, targets).steps()
    finally:
        store.claims.end_pass()


def _mark_targets(
    store: Store, request: Recompression
) -> Generator[None, None, Indexes]:
    """Mark the slots to recompress, in steps, and return them in their order."""
    found = [np.empty(0, np.int64)]
    sizes = [np.empty(0, np.uint64)]
    for start, words in store.table.scan(0, store.nr_slots):
        chosen = np.flatnonzero(
            (words & np.uint64(SIZE_MASK) != 0)
            & (words & np.uint64(SAME | WB | INCOMPRESSIBLE) == 0)
            & (words & np.uint64(request.mode) == request.mode)
            & (words & np.uint64(PRIORITY_MASK) < request.priority << PRIORITY_SHIFT)
        )
        words[chosen] |= np.uint64(PP_SLOT)
        found.append(chosen + start)
        sizes.append(words[chosen] & np.uint64(SIZE_MASK))
        yield None
    targets = np.concatenate(found)
    buckets = np.concatenate(sizes) >> np.uint64(_BUCKET_SHIFT)
    return targets[np.lexsort((targets, buckets))[::-1]]


@dataclass(slots=True, eq=False)
class _Batch:
    """Pages on their way through the codec."""

    compress_many: _CompressMany
    claims: list[Claim] = field(default_factory=list)
    pages: list[bytes] = field(default_factory=list)
    objects: Sequence[Stored] = ()
    """Of the pages, in their order, once that is done."""

    def compress(self) -> None:
        """Make the objects of the pages; runs in another thread."""
        self.objects = self.compress_many(self.pages)


class _Pass:
    """One recompression: a batch is compressed while its neighbours are looked after.

    The batch before it is committed meanwhile, and the one behind it prepared.
    """

    __slots__ = (
        "_batch_size",
        "_compress_many",
        "_left",
        "_request",
        "_store",
        "_todo",
    )

    def __init__(
        self, store: Store, codec: Codec, request: Recompression, targets: Indexes
    ) -> None:
        self._store = store
        self._request = request
        self._compress_many = codec.compress_many or _one_by_one(codec)
        self._batch_size = _BATCH_MANY if codec.compress_many else _BATCH
        self._todo = targets
        most = request.max_pages
        self._left = len(targets) if most is None else most

    def steps(self) -> Steps:
        """Take the pass through all of its targets."""
        before = _Batch(self._compress_many)
        batch = yield from self._prepared()
        while batch.claims:
            work = Work(batch.compress)
            yield work
            yield from self._commit(before)
            following = yield from self._prepared()
            yield work
            before, batch = batch, following
        yield from self._commit(before)

    def _prepared(self) -> Generator[None, None, _Batch]:
        """Return the next pages that are worth trying; none at the end."""
        batch = _Batch(self._compress_many)
        while self._left and self._todo.size and len(batch.claims) < self._batch_size:
            chosen, self._todo = self._todo[:_AT_ONCE], self._todo[_AT_ONCE:]
            for index in chosen.tolist():
                if self._left:
                    self._add(batch, index)
            yield None
        return batch

    def _add(self, batch: _Batch, index: int) -> None:
        """Claim the page at *index* and put it into *batch*, if it is worth trying."""
        store = self._store
        claim = store.claims.claim(index)
        if claim is None:
            return
        if store.claims.size_of(claim) < self._request.threshold:
            store.claims.release(claim, keep_idle=True)
            return
        batch.claims.append(claim)
        batch.pages.append(store.peek(claim))
        self._left -= 1

    def _commit(self, batch: _Batch) -> Steps:
        """Exchange what got smaller, and say so of what did not."""
        for first in range(0, len(batch.claims), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            for claim, stored in zip(
                batch.claims[part], batch.objects[part], strict=True
            ):
                self._commit_page(claim, stored)
            yield None
        store = self._store
        if store.waste << _WASTE_SHIFT > store.pool_pages << PAGE_SHIFT:
            yield from store.compact()

    def _commit_page(self, claim: Claim, stored: Stored) -> None:
        store = self._store
        if not store.claims.holds(claim):
            return
        request = self._request
        if _is_better(len(stored), store.claims.size_of(claim), request.threshold):
            store.exchange(claim, stored, request.priority)
        else:
            store.claims.release(claim, INCOMPRESSIBLE if request.is_last else 0)


def _one_by_one(codec: Codec) -> _CompressMany:
    return lambda pages: list(map(codec.compress, pages))


def _is_better(new: int, old: int, threshold: int) -> bool:
    """Whether an object of *new* bytes is worth having instead of *old* ones."""
    if threshold and new >= threshold:
        return False
    return class_index(new) < class_index(old)
