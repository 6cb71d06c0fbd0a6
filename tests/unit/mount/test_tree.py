"""zramfs.mount.tree: the fixed tree of files and its inodes."""

import stat

import pytest

from zramfs.core.attributes import ATTRIBUTES, Attribute
from zramfs.errors import NoSuchFile, NotADirectory
from zramfs.mount.tree import ROOT_INODE, SWAPFILE_INODE, Node, Tree

KERNEL = (
    Attribute(name="both", show=lambda _: "", parse=lambda _: lambda _: None, doc=""),
    Attribute(name="shown", show=lambda _: "", doc=""),
    Attribute(name="stored", parse=lambda _: lambda _: None, doc=""),
)
OWN = (Attribute(name="own", show=lambda _: "", doc=""),)


@pytest.fixture
def tree() -> Tree:
    return Tree(KERNEL, OWN)


def walk(tree: Tree, inode: int) -> "list[Node]":
    node = tree.node(inode)
    below = [walk(tree, child.inode) for child in node.children.values()]
    return [node, *(node for nodes in below for node in nodes)]


def test_the_root_has_the_swapfile_first_then_the_kernels_files(tree: Tree) -> None:
    names = list(tree.children(ROOT_INODE))

    assert names == [b"swapfile", b"both", b"shown", b"stored", b"zramfs"]


def test_our_own_files_have_a_directory(tree: Tree) -> None:
    directory = tree.child(ROOT_INODE, b"zramfs")

    assert stat.S_ISDIR(directory.mode)
    assert list(tree.children(directory.inode)) == [b"own"]


def test_a_name_with_a_slash_is_in_a_directory() -> None:
    rows = [Attribute(name=name, show=lambda _: "", doc="") for name in ("q/a", "q/b")]
    tree = Tree(rows, OWN)

    directory = tree.child(ROOT_INODE, b"q")

    assert directory.mode == stat.S_IFDIR | 0o755
    assert list(tree.children(directory.inode)) == [b"a", b"b"]
    assert tree.child(directory.inode, b"b").attribute is rows[1]
    assert list(tree.children(ROOT_INODE)) == [b"swapfile", b"q", b"zramfs"]


def test_a_directory_may_be_empty() -> None:
    tree = Tree(KERNEL, OWN, ("holders", "slaves"))

    names = list(tree.children(ROOT_INODE))

    assert names[-3:] == [b"holders", b"slaves", b"zramfs"]
    assert tree.children(tree.child(ROOT_INODE, b"slaves").inode) == {}


def test_the_swapfile_is_for_its_owner_only(tree: Tree) -> None:
    node = tree.child(ROOT_INODE, b"swapfile")

    assert (node.inode, node.mode) == (SWAPFILE_INODE, stat.S_IFREG | 0o600)
    assert node.attribute is None


@pytest.mark.parametrize(
    ("name", "mode"), [(b"both", 0o644), (b"shown", 0o444), (b"stored", 0o200)]
)
def test_a_control_file_has_the_mode_of_its_row(
    tree: Tree, name: bytes, mode: int
) -> None:
    node = tree.child(ROOT_INODE, name)

    assert node.mode == stat.S_IFREG | mode
    assert node.attribute
    assert node.attribute.name.encode() == name


def test_every_inode_leads_to_its_node(tree: Tree) -> None:
    nodes = walk(tree, ROOT_INODE)

    assert sorted(node.inode for node in nodes) == list(range(1, 8))
    assert all(tree.node(node.inode) is node for node in nodes)


@pytest.mark.parametrize("inode", [0, -1, 8, 1 << 63, (1 << 64) - 1])
def test_another_inode_is_no_file(tree: Tree, inode: int) -> None:
    with pytest.raises(NoSuchFile, match=f"inode {inode}"):
        tree.node(inode)


@pytest.mark.parametrize("name", [b"", b"Both", b"own", b".", b"\xff"])
def test_another_name_is_no_file(tree: Tree, name: bytes) -> None:
    with pytest.raises(NoSuchFile, match="no file b'"):
        tree.child(ROOT_INODE, name)


def test_a_file_has_no_entries(tree: Tree) -> None:
    with pytest.raises(NotADirectory, match="inode 2"):
        tree.children(SWAPFILE_INODE)
    with pytest.raises(NotADirectory, match="inode 3"):
        tree.child(3, b"shown")


def test_the_attributes_of_zramfs_are_all_in_the_root() -> None:
    tree = Tree(ATTRIBUTES.values(), ())

    assert list(tree.children(ROOT_INODE)) == [
        b"swapfile",
        *(name.encode() for name in ATTRIBUTES),
        b"zramfs",
    ]
