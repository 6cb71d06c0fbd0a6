"""A device of which every slot is in use, made without writing its pages."""

import numpy as np

from zramfs.core.device import Device
from zramfs.core.pool import class_of
from zramfs.units import PAGE_SIZE

_SEED = 1


def fill_table(device: Device, nr_slots: int) -> None:
    """Initialise *device* with *nr_slots* objects of all sizes, in any order.

    Their words are as they would be; of each class only the last object is written.
    """
    device.set_disksize(nr_slots * PAGE_SIZE)
    sizes = np.random.default_rng(_SEED).integers(16, 3600, nr_slots)
    classes = (sizes + 15) >> 4
    counts = np.bincount(classes)
    first = np.cumsum(counts) - counts
    order = np.argsort(classes, kind="stable")
    places = np.empty(nr_slots, np.int64)
    places[order] = np.arange(nr_slots) - np.repeat(first, counts)
    words = np.frombuffer(device.store.table.words, np.uint64)
    words[:] = (sizes | places << 22).astype(np.uint64)
    pool = device.store._pool
    for klass in range(1, class_of(3600) + 1):
        pool.write(klass, int(counts[klass]) - 1, bytes(klass << 4))
