"""The files of the mount: a fixed tree with its inodes.

The root is ``/sys/block/zramN`` and the swapfile; a row whose name has a slash is in
a directory. The directory ``zramfs`` holds what the kernel does not have. Nothing is
ever created or removed, so inodes are positions in a list and lookup counts need no
bookkeeping.
"""

import functools
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from zramfs.core.attributes import Attribute
from zramfs.errors import NoSuchFile, NotADirectory
from zramfs.mount.names import OWN_DIRECTORY, SWAPFILE

ROOT_INODE: Final = 1  # FUSE_ROOT_ID
SWAPFILE_INODE: Final = 2

_DIRECTORY: Final = stat.S_IFDIR | 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A file or directory."""

    inode: int
    mode: int
    """File type and permission bits."""
    attribute: Attribute | None = None
    """What a control file shows and stores."""
    children: dict[bytes, "Node"] = field(default_factory=dict)
    """A directory's entries by name."""


class Tree:
    """All nodes, by inode."""

    __slots__ = ("_nodes",)

    def __init__(
        self,
        kernel: Iterable[Attribute],
        own: Iterable[Attribute],
        directories: Iterable[str] = (),
    ) -> None:
        self._nodes: list[Node] = []
        root = self._add(None, b"", _DIRECTORY)
        self._add(root, SWAPFILE, stat.S_IFREG | 0o600)
        self._add_attributes(root, kernel)
        for name in directories:
            self._directory(root, name.encode())
        self._add_attributes(self._directory(root, OWN_DIRECTORY), own)

    def _add_attributes(self, top: Node, attributes: Iterable[Attribute]) -> None:
        for row in attributes:
            *above, name = row.name.encode().split(b"/")
            parent = functools.reduce(self._directory, above, top)
            self._add(parent, name, stat.S_IFREG | row.mode, row)

    def _directory(self, parent: Node, name: bytes) -> Node:
        """Return the directory *name* in *parent*, made if it is not there."""
        return parent.children.get(name) or self._add(parent, name, _DIRECTORY)

    def _add(
        self,
        parent: Node | None,
        name: bytes,
        mode: int,
        attribute: Attribute | None = None,
    ) -> Node:
        inode = ROOT_INODE + len(self._nodes)
        node = Node(inode=inode, mode=mode, attribute=attribute)
        self._nodes.append(node)
        if parent:
            parent.children[name] = node
        return node

    def node(self, inode: int) -> Node:
        """Return the node of *inode*; NoSuchFile if there is none."""
        if not ROOT_INODE <= inode < ROOT_INODE + len(self._nodes):
            raise NoSuchFile(f"inode {inode}")
        return self._nodes[inode - ROOT_INODE]

    def child(self, parent: int, name: bytes) -> Node:
        """Return the entry *name* of the directory *parent*."""
        try:
            return self.children(parent)[name]
        except KeyError:
            raise NoSuchFile(f"no file {name!r}") from None

    def children(self, inode: int) -> Mapping[bytes, Node]:
        """Return the entries of the directory *inode*, in their order."""
        node = self.node(inode)
        if not stat.S_ISDIR(node.mode):
            raise NotADirectory(f"inode {inode}")
        return node.children
