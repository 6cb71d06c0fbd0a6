"""zramfs.mount.files: reading a file that is shown in pieces."""

import os
from pathlib import Path

import pytest
import trio

from tests.unit.passes import fill
from zramfs.core.block_state import LINE_BYTES
from zramfs.core.device import Device
from zramfs.errors import InvalidValue, NotInitialised
from zramfs.mount.bio import Bio
from zramfs.mount.control import control_files
from zramfs.mount.files import Files
from zramfs.mount.paths import Paths, RwPage
from zramfs.mount.resize import Resizer
from zramfs.mount.tree import ROOT_INODE, Tree

MUCH = 1 << 20
FULL = 1 << 14


class BlockState:
    """A device's block_state, opened."""

    def __init__(self, device: Device, generation: int = 0) -> None:
        paths = Paths(RwPage.ALWAYS)
        tree = Tree((), control_files(paths, lane=True))
        own = tree.child(ROOT_INODE, b"zramfs").inode
        self.inode = tree.child(own, b"block_state").inode
        self.files = Files(
            device, tree, Bio(device, paths.stat), Resizer(Path("/nowhere")), generation
        )

    def open(self, flags: int = os.O_RDONLY) -> int:
        return self.files.open(self.inode, flags)

    def read(self, handle: int, offset: int, length: int) -> bytes:
        return trio.run(self.files.read, handle, offset, length)


@pytest.fixture
def state(device: Device) -> BlockState:
    fill(device, *["text"] * 5)
    return BlockState(device)


def indexes(text: bytes) -> list[int]:
    return [int(line.split()[0]) for line in text.splitlines()]


def test_a_read_goes_on_where_the_last_one_ended(state: BlockState) -> None:
    handle = state.open()

    first = state.read(handle, 0, 100)
    second = state.read(handle, len(first), 100)
    rest = state.read(handle, len(first + second), MUCH)

    assert [indexes(text) for text in (first, second, rest)] == [[0, 1], [2, 3], [4]]
    assert state.read(handle, len(first + second + rest), MUCH) == b""


def test_offset_0_begins_anew(state: BlockState, device: Device) -> None:
    handle = state.open()
    state.read(handle, 0, 100)
    fill(device, *["zero"] * 6)

    assert indexes(state.read(handle, 0, MUCH)) == [0, 1, 2, 3, 4, 5]


def test_each_open_file_has_its_own_place(state: BlockState) -> None:
    one, two = state.open(), state.open()
    state.read(one, 0, 100)
    state.read(two, 0, 50)

    assert indexes(state.read(one, 80, 50)) == [2]
    assert indexes(state.read(two, 40, 50)) == [1]


@pytest.mark.parametrize("offset", [1, 40, 79, 81, 120])
def test_a_read_from_elsewhere_is_refused(state: BlockState, offset: int) -> None:
    handle = state.open()
    state.read(handle, 0, 100)

    with pytest.raises(InvalidValue, match=f"read at {offset}, the last one ended at"):
        state.read(handle, offset, 100)

    assert indexes(state.read(handle, 80, 50)) == [2]


def test_a_buffer_of_one_line_reads_nothing(state: BlockState) -> None:
    assert state.read(state.open(), 0, LINE_BYTES) == b""


def test_one_read_returns_no_more_than_a_socket_carries(bare: Device) -> None:
    bare.set_disksize(MUCH << 2)
    fill(bare, *["zero"] * 500)
    state = BlockState(bare)

    text = state.read(state.open(), 0, MUCH)

    assert len(text) == (FULL - 1) // LINE_BYTES * LINE_BYTES


def test_a_closed_file_is_forgotten(state: BlockState) -> None:
    handle = state.open()
    state.read(handle, 0, 100)

    state.files.release(handle)

    assert state.files._cursors == {}


def test_a_page_that_goes_meanwhile_is_not_listed(
    state: BlockState, device: Device
) -> None:
    handle = state.open()
    state.read(handle, 0, 100)
    for _ in device.discard(2 * 4096, 4096):
        pass

    assert indexes(state.read(handle, 80, MUCH)) == [3, 4]


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR])
def test_it_can_be_opened_for_writing_and_not_written(
    state: BlockState, flags: int
) -> None:
    handle = state.open(flags)

    with pytest.raises(InvalidValue, match="block_state is not written to"):
        trio.run(state.files.write, handle, 0, b"1")


def test_a_bare_device_can_be_opened_and_not_read(bare: Device) -> None:
    state = BlockState(bare)

    with pytest.raises(NotInitialised, match="no disksize"):
        state.read(state.open(), 0, MUCH)


def test_a_file_that_an_earlier_worker_opened_is_read_on(device: Device) -> None:
    fill(device, *["text"] * 5)
    before, after = BlockState(device), BlockState(device, generation=1)
    handle = before.open()
    first = before.read(handle, 0, 2 * LINE_BYTES + 1)

    rest = after.read(handle, len(first), MUCH)

    assert indexes(first + rest) == [0, 1, 2, 3, 4]


def test_no_handle_of_an_earlier_worker_is_given_out_again(device: Device) -> None:
    before, after = BlockState(device), BlockState(device, generation=1)

    handles = {state.open() for state in (before, after) for _ in range(3)}

    assert len(handles) == 6


def test_a_place_that_no_longer_is_there_is_refused_to_who_reads_on(
    device: Device,
) -> None:
    fill(device, "text")
    handle = BlockState(device).open()
    state = BlockState(device, generation=1)

    with pytest.raises(InvalidValue, match="read at 100000, the last one ended at 40"):
        state.read(handle, 100_000, MUCH)
