"""A store to disksize is done once, though the kernel sends it twice.

It is the only store that fails when it is done again: with EBUSY, because it has been
done. Before the work a word in the header says which request it is. If that one is
sent again, its answer did not arrive, and a disksize that there is then is its work.
"""

from typing import Final

from zramfs.core.device import Device
from zramfs.core.lifecycle import State
from zramfs.mount.wire import FUSE_UNIQUE_RESEND


class Initialising:
    """Knows the store to disksize, at *inode*, that *device* has been given."""

    __slots__ = ("_device", "_inode", "_unique", "_words")

    _NOTE: Final = 2
    """Place in the words, behind those of `takeover.Openers`."""

    def __init__(self, device: Device, inode: int) -> None:
        self._device = device
        self._words = device.header.openers
        self._inode = inode
        # The request that is noted and not answered yet; 0 is none.
        self._unique = 0

    def is_done(self, nodeid: int, unique: int) -> bool:
        """Whether the store *unique* to *nodeid* has been done; note that it will be.

        Only one at a time is: of several at once the first one counts.
        """
        if nodeid != self._inode:
            return False
        is_ready = self._device.state is State.READY
        plain = unique & ~FUSE_UNIQUE_RESEND
        if is_ready and unique != plain and self._words[self._NOTE] == plain:
            return True
        if not is_ready and not self._unique:
            self._unique = unique
            self._words[self._NOTE] = plain
        return False

    def end(self, unique: int) -> None:
        """Note that the answer of *unique* has arrived."""
        if unique == self._unique:
            self._unique = self._words[self._NOTE] = 0
