"""What a process finds that takes over the memory of another."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.backing import backings_of
from tests.verify import verify
from zramfs.core.device import Device
from zramfs.memory import MemFile


@contextmanager
def recovered(device: Device) -> Iterator[Device]:
    """Yield *device* as it is in the hands of another process; verify it.

    The old one must not be used again, but to be reset.
    """
    assert isinstance(device._memory, MemFile)
    memory = MemFile(os.dup(device._memory.fd))
    backings = backings_of(device)
    backings.orphan()
    other = Device(memory, None, backings)
    verify(other)
    try:
        yield other
        verify(other)
    finally:
        os.close(memory.fd)
