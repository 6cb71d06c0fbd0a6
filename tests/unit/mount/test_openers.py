"""zramfs.mount.openers: who has a block device open, as /proc tells."""

import os
import stat
from pathlib import Path

import pytest

from zramfs.mount import openers
from zramfs.mount.openers import open_disks


class Proc:
    """A /proc of made-up processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "uptime").touch()

    def open(self, pid: int, fd: int, path: Path | str, flags: str) -> None:
        """Let a process have *path* open, with *flags* as fdinfo shows them."""
        process = self.root / str(pid)
        for name in ("fd", "fdinfo"):
            (process / name).mkdir(parents=True, exist_ok=True)
        (process / "fd" / str(fd)).symlink_to(path)
        (process / "fdinfo" / str(fd)).write_text(
            f"pos:\t0\nflags:\t{flags}\nino:\t1\n"
        )


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    root = tmp_path / "proc"
    root.mkdir()
    return Proc(root)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that passes for the node of a block device."""
    node = tmp_path / "node"
    node.touch()
    monkeypatch.setattr(openers, "_NODES", str(node))
    monkeypatch.setattr(stat, "S_ISBLK", stat.S_ISREG)
    return node


def test_nobody_has_anything_open(proc: Proc) -> None:
    assert open_disks(proc.root) == set()


@pytest.mark.parametrize("flags", ["0100000", "02100001", "0100002"], ids=str)
def test_what_reads_or_writes_it_has_it_open(
    proc: Proc, node: Path, flags: str
) -> None:
    proc.open(7, 3, node, flags)

    assert open_disks(proc.root) == {node.stat().st_rdev}


def test_what_can_do_neither_does_not_count(proc: Proc, node: Path) -> None:
    proc.open(7, 3, node, "02100003")

    assert open_disks(proc.root) == set()


def test_our_own_descriptors_do_not_count(proc: Proc, node: Path) -> None:
    proc.open(os.getpid(), 3, node, "0100002")

    assert open_disks(proc.root) == set()


def test_other_files_are_not_looked_at(proc: Proc, node: Path) -> None:
    other = node.with_name("other")
    other.touch()
    proc.open(7, 3, other, "0100002")
    proc.open(7, 4, "socket:[17]", "02")

    assert open_disks(proc.root) == set()


def test_no_block_device_is_none(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openers, "_NODES", os.devnull)
    proc.open(7, 3, os.devnull, "0100002")

    assert open_disks(proc.root) == set()


def test_what_has_just_been_closed_is_passed_over(proc: Proc, node: Path) -> None:
    proc.open(7, 3, node.with_name("node-gone"), "0100002")
    proc.open(7, 4, node, "0100002")
    (proc.root / "8").mkdir()

    assert open_disks(proc.root) == {node.stat().st_rdev}
