"""zramfs.core.blocks: the lowest free blocks, pins, and seals."""

import numpy as np
import pytest

from zramfs.core.blocks import Blocks
from zramfs.errors import BackingDeviceFull
from zramfs.units import BlockIndex

NR_BLOCKS = 8
SEAL_BYTES = 4


@pytest.fixture
def blocks() -> Blocks:
    return Blocks(NR_BLOCKS, memoryview(bytearray(NR_BLOCKS * SEAL_BYTES)), SEAL_BYTES)


def test_the_lowest_blocks_come_first_and_from_0(blocks: Blocks) -> None:
    assert [blocks.alloc(1), blocks.alloc(2), blocks.alloc(1)] == [
        range(1),
        range(1, 3),
        range(3, 4),
    ]
    assert blocks.nr_used == 4


def test_a_freed_block_is_the_next_if_it_is_the_lowest(blocks: Blocks) -> None:
    blocks.alloc(6)
    for block in (4, 1, 2):
        blocks.free(block)

    assert blocks.nr_used == 3
    assert [blocks.alloc(9), blocks.alloc(9), blocks.alloc(9)] == [
        range(1, 3),
        range(4, 5),
        range(6, 8),
    ]


def test_no_more_blocks_than_there_are(blocks: Blocks) -> None:
    assert blocks.alloc(99) == range(NR_BLOCKS)

    with pytest.raises(BackingDeviceFull, match="all 8 blocks are in use"):
        blocks.alloc(1)
    assert blocks.nr_used == NR_BLOCKS


def test_a_full_device_has_room_again_once_a_block_is_freed(blocks: Blocks) -> None:
    blocks.alloc(NR_BLOCKS)
    blocks.free(NR_BLOCKS - 1)

    assert blocks.alloc(2) == range(NR_BLOCKS - 1, NR_BLOCKS)


def test_without_a_backing_device_there_is_none() -> None:
    blocks = Blocks(0, memoryview(b""), 0)

    with pytest.raises(BackingDeviceFull, match="all 0 blocks"):
        blocks.alloc(1)


def test_a_block_is_freed_once(blocks: Blocks) -> None:
    blocks.alloc(2)
    blocks.free(1)

    with pytest.raises(AssertionError, match="block 1 is free already"):
        blocks.free(1)


def test_a_pinned_block_is_not_handed_out_again(blocks: Blocks) -> None:
    block = BlockIndex(blocks.alloc(1).start)
    blocks.pin(block)
    blocks.pin(block)
    blocks.free(block)

    assert blocks.nr_used == 0
    assert blocks.alloc(1) == range(1, 2)
    blocks.unpin(block)
    assert blocks.alloc(1) == range(2, 3)
    blocks.unpin(block)
    assert blocks.alloc(1) == range(1)


def test_a_block_that_was_pinned_stays_used_if_nobody_frees_it(blocks: Blocks) -> None:
    block = BlockIndex(blocks.alloc(1).start)
    blocks.pin(block)
    blocks.unpin(block)

    assert blocks.nr_used == 1
    assert blocks.alloc(1) == range(1, 2)


def test_a_block_has_the_seal_that_was_set_last(blocks: Blocks) -> None:
    blocks.set_seals(2, b"aaaabbbb")
    blocks.set_seals(3, b"cccc")

    seals = [blocks.seal(BlockIndex(block)) for block in (1, 2, 3, 4)]
    assert seals == [bytes(4), b"aaaa", b"cccc", bytes(4)]


def test_blocks_are_restored_from_what_slots_point_to(blocks: Blocks) -> None:
    blocks.restore([np.array([5]), np.array([0, 2])])

    assert blocks.nr_used == 3
    assert [blocks.alloc(9), blocks.alloc(9), blocks.alloc(9)] == [
        range(1, 2),
        range(3, 5),
        range(6, 8),
    ]


def test_two_slots_that_point_to_one_block_are_found_out(blocks: Blocks) -> None:
    with pytest.raises(AssertionError, match="a block is used twice"):
        blocks.restore([np.array([3, 1, 3])])


def test_blocks_are_restored_first_of_all(blocks: Blocks) -> None:
    blocks.alloc(1)

    with pytest.raises(AssertionError, match="first of all"):
        blocks.restore([np.array([1])])
