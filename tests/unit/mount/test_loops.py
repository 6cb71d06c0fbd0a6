"""zramfs.mount.loops: which loop devices and swaps stand on a mount."""

import os
from pathlib import Path

import pytest

from zramfs.core.disk import Disk
from zramfs.mount import loops
from zramfs.mount.loops import disk_on, loops_on, parse_swaps, swap_used, swaps_on

HEADER = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
MOUNTPOINT = Path("/mnt/z")


@pytest.fixture
def sys_block(tmp_path: Path) -> Path:
    """A /sys/block with a disk, and a loop device that nothing is attached to."""
    (tmp_path / "sda").mkdir()
    (tmp_path / "loop9").mkdir()
    return tmp_path


def attach(sys_block: Path, name: str, file: bytes) -> None:
    directory = sys_block / name / "loop"
    directory.mkdir(parents=True)
    (directory / "backing_file").write_bytes(file + b"\n")


def test_the_swapfile_has_its_place() -> None:
    assert loops.swapfile_of(MOUNTPOINT) == Path("/mnt/z/swapfile")


def test_nothing_stands_on_a_mount_without_loops(sys_block: Path) -> None:
    assert loops_on(MOUNTPOINT, sys_block) == []


def test_loops_on_the_swapfile_are_found(sys_block: Path) -> None:
    attach(sys_block, "loop3", b"/mnt/z/swapfile")
    attach(sys_block, "loop1", b"/mnt/z/swapfile")

    assert loops_on(MOUNTPOINT, sys_block) == [Path("/dev/loop1"), Path("/dev/loop3")]


@pytest.mark.parametrize(
    "file",
    [
        b"/mnt/z/swapfile2",
        b"/mnt/zz/swapfile",
        b"/mnt/z",
        b"",
        b"/mnt/z/swapfile (deleted)",
    ],
    ids=["longer", "other", "parent", "none", "deleted"],
)
def test_loops_on_other_files_are_not(sys_block: Path, file: bytes) -> None:
    attach(sys_block, "loop0", file)

    assert loops_on(MOUNTPOINT, sys_block) == []


@pytest.mark.parametrize(
    "name", [b"/mnt/a b", b"/mnt/a\nb", b"/mnt/\xff", b"/mnt/a\\040b"], ids=repr
)
def test_a_mountpoint_of_any_name_is_found(sys_block: Path, name: bytes) -> None:
    attach(sys_block, "loop0", name + b"/swapfile")

    assert loops_on(Path(os.fsdecode(name)), sys_block) == [Path("/dev/loop0")]


def test_a_loop_that_goes_while_it_is_looked_at_is_no_loop(sys_block: Path) -> None:
    # A directory cannot be read either, and stays in the listing.
    (sys_block / "loop0" / "loop" / "backing_file").mkdir(parents=True)

    assert loops_on(MOUNTPOINT, sys_block) == []


def tell(sys_block: Path, name: str, dev: str, diskseq: str) -> None:
    (sys_block / name / "dev").write_text(f"{dev}\n")
    (sys_block / name / "diskseq").write_text(f"{diskseq}\n")


def test_the_first_loop_device_is_the_disk_on_a_mount(sys_block: Path) -> None:
    for number in (3, 1):
        attach(sys_block, f"loop{number}", b"/mnt/z/swapfile")
        tell(sys_block, f"loop{number}", f"7:{number}", f"2{number}")

    assert disk_on(MOUNTPOINT, sys_block) == Disk(name="loop1", dev="7:1", diskseq="21")


def test_no_disk_is_on_a_mount_without_loops(sys_block: Path) -> None:
    attach(sys_block, "loop0", b"/mnt/other/swapfile")
    tell(sys_block, "loop0", "7:0", "20")

    assert disk_on(MOUNTPOINT, sys_block) is None


def test_a_disk_that_goes_while_it_is_looked_at_is_none(sys_block: Path) -> None:
    attach(sys_block, "loop0", b"/mnt/z/swapfile")

    assert disk_on(MOUNTPOINT, sys_block) is None


# As Linux 6.1 printed it.
SWAPS = (
    HEADER
    + b"/dev/loop0                              partition\t1048572\t\t512\t\t-2\n"
    b"/swap\\040file                             file\t\t104857600\t66048\t\t100\n"
)


def test_swaps_are_found_with_what_is_used_of_them() -> None:
    assert parse_swaps(SWAPS) == {Path("/dev/loop0"): 512, Path("/swap file"): 66048}


@pytest.mark.parametrize("text", [HEADER, b""], ids=["header", "nothing"])
def test_a_system_may_have_no_swaps(text: bytes) -> None:
    assert parse_swaps(text) == {}


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        (b"/a\\040b", b"/a b"),
        (b"/a\\011b", b"/a\tb"),
        (b"/a\\012b", b"/a\nb"),
        (b"/a\\134b", b"/a\\b"),
        (b"/a\\134040b", b"/a\\040b"),
        (b"/a\\040(deleted)", b"/a (deleted)"),
        (b"/a\rb", b"/a\rb"),
        (b"/a\x0bb\x0cc", b"/a\x0bb\x0cc"),
        (b"/a\x1cb\xc2\x85c", b"/a\x1cb\xc2\x85c"),
        (b"/\xff", b"/\xff"),
    ],
    ids=repr,
)
def test_a_name_is_shown_as_the_kernel_escapes_it(shown: bytes, name: bytes) -> None:
    row = shown + b" file\t\t1020\t\t8\t\t-2\n"

    assert parse_swaps(HEADER + row) == {Path(os.fsdecode(name)): 8}


def test_what_this_system_swaps_on_can_be_read() -> None:
    assert swap_used(Path("/dev/loop-of-nobody")) == 0


def test_nobody_swaps_on_a_mount_that_is_not_there() -> None:
    assert swaps_on(Path("/mnt/of/nobody")) == []
