"""zramfs.mount.files: what opening, reading and writing a file means."""

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from tests.pages import make_page
from zramfs.core.attributes import Attribute
from zramfs.core.device import Change, Device
from zramfs.errors import InvalidValue, NoSpace, NoSuchFile, WrongDirection
from zramfs.mount.bio import Bio
from zramfs.mount.files import Files
from zramfs.mount.paths import PathStat
from zramfs.mount.resize import Resizer
from zramfs.mount.tree import ROOT_INODE, SWAPFILE_INODE, Tree
from zramfs.units import PAGE_SIZE


@dataclass(slots=True)
class Notebook:
    """Attributes that note what they are asked."""

    shown: int = 0
    stored: list[str] = field(default_factory=list)

    def show(self, _device: Device) -> str:
        self.shown += 1
        return f"shown {self.shown}\n"

    def parse(self, text: str) -> Change:
        if text == "refuse":
            raise InvalidValue("refused")
        return lambda _: self.stored.append(text)

    def rows(self) -> tuple[Attribute, ...]:
        return (
            Attribute(name="both", show=self.show, parse=self.parse, doc=""),
            Attribute(name="shown", show=self.show, doc=""),
            Attribute(name="stored", parse=self.parse, doc=""),
        )


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


class Opener:
    """Files, called as whoever has a mount would call them."""

    def __init__(self, device: Device, rows: tuple[Attribute, ...]) -> None:
        self.tree = Tree(rows, ())
        self.files = Files(
            device, self.tree, Bio(device, PathStat()), Resizer(Path("/nowhere"))
        )

    def open(self, name: str, flags: int = os.O_RDWR) -> int:
        node = self.tree.child(ROOT_INODE, name.encode())
        return self.files.open(node.inode, flags)

    def read(self, handle: int, offset: int = 0, length: int = PAGE_SIZE) -> bytes:
        return trio.run(self.files.read, handle, offset, length)

    def write(self, handle: int, data: bytes, offset: int = 0) -> int:
        return trio.run(self.files.write, handle, offset, data)


@pytest.fixture
def files(device: Device, notebook: Notebook) -> Opener:
    return Opener(device, notebook.rows())


def test_the_text_of_a_file_is_made_once(files: Opener, notebook: Notebook) -> None:
    handle = files.open("both")

    parts = [files.read(handle, 0, 3), files.read(handle, 3, 100)]

    assert b"".join(parts) == b"shown 1\n"
    assert notebook.shown == 1


def test_reading_from_the_start_makes_the_text_anew(files: Opener) -> None:
    handle = files.open("both")
    files.read(handle)

    assert files.read(handle) == b"shown 2\n"


def test_each_open_file_keeps_its_own_text(files: Opener) -> None:
    first, second = files.open("both"), files.open("both")
    files.read(first)
    files.read(second)

    assert files.read(first, 6, 1) == b"1"
    assert files.read(second, 6, 1) == b"2"


def test_reading_may_begin_anywhere(files: Opener) -> None:
    assert files.read(files.open("both"), 6, 1) == b"1"


def test_reading_behind_the_text_is_empty(files: Opener) -> None:
    handle = files.open("both")

    assert files.read(handle, 8) == b""
    assert files.read(handle, PAGE_SIZE) == b""


def test_a_closed_file_forgets_its_text(files: Opener) -> None:
    handle = files.open("both")
    files.read(handle)
    files.files.release(handle)

    assert files.files._texts == {}


def test_a_file_that_was_never_read_can_be_closed(files: Opener) -> None:
    files.files.release(files.open("both"))


def test_a_write_is_one_store(files: Opener, notebook: Notebook) -> None:
    handle = files.open("both")

    assert files.write(handle, b"one\n") == 4
    assert files.write(handle, b"two", offset=4) == 3
    assert notebook.stored == ["one\n", "two"]


def test_a_store_ends_at_the_first_nul(files: Opener, notebook: Notebook) -> None:
    assert files.write(files.open("both"), b"one\0two\n") == 8
    assert notebook.stored == ["one"]


def test_a_write_stores_at_most_a_page(files: Opener, notebook: Notebook) -> None:
    assert files.write(files.open("both"), b"x" * 5000) == 4096
    assert notebook.stored == ["x" * 4096]


def test_an_empty_write_stores_nothing_but_the_empty_text(
    files: Opener, notebook: Notebook
) -> None:
    assert files.write(files.open("both"), b"") == 0
    assert notebook.stored == [""]


def test_bytes_that_are_no_text_reach_the_store(
    files: Opener, notebook: Notebook
) -> None:
    files.write(files.open("both"), b"\xff\xfe")

    assert os.fsencode(notebook.stored[0]) == b"\xff\xfe"


def test_bytes_that_are_no_text_are_shown_as_they_were(device: Device) -> None:
    row = Attribute(name="path", show=lambda _: os.fsdecode(b"/\xff\xfe\n"), doc="")
    files = Opener(device, (row,))

    assert files.read(files.open("path", os.O_RDONLY)) == b"/\xff\xfe\n"


def test_a_refused_store_is_told_to_the_writer_and_the_log(
    files: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    with pytest.raises(InvalidValue, match="refused"):
        files.write(files.open("both"), b"refuse")

    assert caplog.messages == ["both: refused"]


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("shown", os.O_WRONLY),
        ("shown", os.O_RDWR),
        ("stored", os.O_RDONLY),
        ("stored", os.O_RDWR),
    ],
)
def test_a_file_opens_only_the_way_it_works(
    files: Opener, name: str, flags: int
) -> None:
    with pytest.raises(WrongDirection, match=f"{name}: mode 0") as refusal:
        files.open(name, flags)

    assert refusal.value.errno == errno.EACCES


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("shown", os.O_RDONLY),
        ("stored", os.O_WRONLY),
        ("stored", os.O_WRONLY | os.O_TRUNC | os.O_APPEND),
        ("both", os.O_RDWR | os.O_NONBLOCK),
    ],
)
def test_a_file_opens_the_way_it_works(files: Opener, name: str, flags: int) -> None:
    assert files.open(name, flags)


def test_a_directory_is_not_opened_as_a_file(files: Opener) -> None:
    with pytest.raises(NoSuchFile, match="inode 1 is no file"):
        files.files.open(ROOT_INODE, os.O_RDONLY)


def test_an_unknown_inode_is_not_opened(files: Opener) -> None:
    with pytest.raises(NoSuchFile, match="inode 99"):
        files.files.open(99, os.O_RDONLY)


def test_handles_are_all_different(files: Opener) -> None:
    handles = [files.open("both") for _ in range(10)]

    assert len({*handles, SWAPFILE_INODE}) == 11


def test_the_swapfile_is_the_device(files: Opener, device: Device) -> None:
    handle = files.open("swapfile")

    assert files.write(handle, make_page("text"), PAGE_SIZE) == PAGE_SIZE
    assert files.read(handle, PAGE_SIZE) == make_page("text")
    assert device.mm_stat().orig_data_size == PAGE_SIZE


def test_the_swapfile_counts_who_has_it_open(files: Opener, device: Device) -> None:
    first, second = files.open("swapfile"), files.open("swapfile", os.O_RDONLY)
    files.files.release(first)
    assert device.openers == 1
    files.files.release(second)

    assert device.openers == 0


def test_the_end_of_the_swapfile_is_that_of_a_device(
    files: Opener, device: Device
) -> None:
    handle = files.open("swapfile")
    end = device.disksize

    assert files.read(handle, end) == b""
    assert files.write(handle, b"0123", end - 2) == 2
    with pytest.raises(NoSpace, match="the device ends at"):
        files.write(handle, b"0", end)


def test_relative_paths_begin_where_the_opener_is(device: Device) -> None:
    seen: list[str] = []

    def note(device: Device) -> None:
        seen.append(device.files.resolve("x"))

    files = Opener(device, (Attribute(name="path", parse=lambda _: note, doc=""),))
    inode = files.tree.child(ROOT_INODE, b"path").inode
    known = files.files.open(inode, os.O_WRONLY, 7)
    unknown = files.files.open(inode, os.O_WRONLY)

    for handle in (known, unknown):
        files.write(handle, b"text")

    assert seen == ["/proc/7/cwd/x", "/x"]
