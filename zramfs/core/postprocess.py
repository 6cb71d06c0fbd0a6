"""Post-processing: passes over stored pages that nobody is reading or writing.

A pass first scans the table and marks its targets (PP_SLOT), then works on them,
the largest first, as the kernel does since 6.13: targets are sorted by size in
steps of 64 bytes, and within one step by descending index. Any access takes the
mark off, and the pass leaves that page alone.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
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

_BATCH_MANY: Final = 256
"""Pages compressed by one call on all processors: about 3 ms with zstd."""

_BATCH: Final = 16
"""Pages compressed one by one in a step: 0.2 to 1 ms."""

_WASTE_SHIFT: Final = 3
"""Objects leave holes in the classes that they come from. A pass that is to save
memory must not need half as much again meanwhile: at an eighth it compacts."""


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
        left = len(targets) if request.max_pages is None else request.max_pages
        size = _BATCH_MANY if codec.compress_many else _BATCH
        for start in range(0, len(targets), size):
            if left == 0:
                break
            claims = _claimed(store, targets[start : start + size], request, left)
            left -= len(claims)
            yield from _recompress_claims(store, codec, request, claims)
            if store.waste << _WASTE_SHIFT > store.pool_pages << PAGE_SHIFT:
                yield from store.compact()
    finally:
        store.claims.end_pass()


def _mark_targets(
    store: Store, request: Recompression
) -> Generator[Work | None, None, Indexes]:
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


def _claimed(
    store: Store, indexes: Indexes, request: Recompression, most: int
) -> list[Claim]:
    """Claim those of *indexes* that are worth trying, *most* at the most."""
    claims: list[Claim] = []
    for index in indexes.tolist():
        if len(claims) == most:
            break
        claim = store.claims.claim(index)
        if claim is None:
            continue
        if store.claims.size_of(claim) < request.threshold:
            store.claims.release(claim, keep_idle=True)
            continue
        claims.append(claim)
    return claims


def _recompress_claims(
    store: Store, codec: Codec, request: Recompression, claims: list[Claim]
) -> Steps:
    pages = [store.peek(claim) for claim in claims]
    objects: list[Stored] = []
    if codec.compress_many:
        yield partial(_compress_many, codec.compress_many, pages, objects)
    else:
        objects += map(codec.compress, pages)
        yield None
    for claim, stored in zip(claims, objects, strict=True):
        if not store.claims.holds(claim):
            continue
        if _is_better(len(stored), store.claims.size_of(claim), request.threshold):
            store.exchange(claim, stored, request.priority)
        else:
            store.claims.release(claim, INCOMPRESSIBLE if request.is_last else 0)


def _compress_many(
    compress: Callable[[list[bytes]], list[bytes]],
    pages: list[bytes],
    objects: list[Stored],
) -> None:
    if pages:
        objects += compress(pages)


def _is_better(new: int, old: int, threshold: int) -> bool:
    """Whether an object of *new* bytes is worth having instead of *old* ones."""
    if threshold and new >= threshold:
        return False
    return class_index(new) < class_index(old)
