"""The operations of a device, and what tests of them do all the time."""

from pathlib import Path
from typing import Final

import pyfuse3
import pytest

from zramfs.core.attributes import ATTRIBUTES
from zramfs.core.device import Device
from zramfs.mount.bio import Bio
from zramfs.mount.control import control_files
from zramfs.mount.files import Files
from zramfs.mount.operations import Operations
from zramfs.mount.paths import Paths, RwPage
from zramfs.mount.resize import Resizer
from zramfs.mount.tree import ROOT_INODE, SWAPFILE_INODE, Tree

ROOT: Final = pyfuse3.InodeT(ROOT_INODE)
SWAPFILE: Final = pyfuse3.InodeT(SWAPFILE_INODE)
CTX: Final = pyfuse3.RequestContext()


class Operator(Operations):
    """The operations of a device, with the tree to find inodes in."""

    def __init__(self, device: Device, *, discards: bool = True) -> None:
        paths = Paths(RwPage.ALWAYS)
        self.tree = Tree(ATTRIBUTES.values(), control_files(paths, lane=True))
        files = Files(
            device, self.tree, Bio(device, paths.stat), Resizer(Path("/nowhere"))
        )
        super().__init__(device, self.tree, files, discards=discards)

    def inode(self, name: str) -> pyfuse3.InodeT:
        return pyfuse3.InodeT(self.tree.child(ROOT_INODE, name.encode()).inode)


def refused(number: int) -> "pytest.RaisesExc[pyfuse3.FUSEError]":
    return pytest.RaisesExc(
        pyfuse3.FUSEError, check=lambda error: error.errno == number
    )
