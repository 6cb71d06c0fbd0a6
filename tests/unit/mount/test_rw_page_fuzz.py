"""zramfs.mount.rw_page: whatever comes over the wire, against a model.

A request ends in an errno, in an answer or in libfuse; never in an exception, and
the device holds what valid requests have put there, and nothing else.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pages import make_page
from tests.unit.mount import wires
from tests.unit.mount.rig import Rig
from tests.unit.mount.spilled_rig import attach_memory, spilled_rig
from tests.unit.requests import write_page
from tests.verify import opened_device, verify
from zramfs.mount.paths import RwPage
from zramfs.units import PAGE_SIZE

NR_PAGES: Final = 8
DISKSIZE: Final = NR_PAGES * PAGE_SIZE
U32_MAX: Final = (1 << 32) - 1
U64_MAX: Final = (1 << 64) - 1

ERRNOS: Final = {
    *(errno.EINVAL, errno.EIO, errno.ENOSPC, errno.ENXIO, errno.EOPNOTSUPP),
}
"""What the lane may refuse with."""

unhurried: Final = settings(deadline=None)  # two slow cores with other work

offsets = st.one_of(
    st.integers(0, DISKSIZE + PAGE_SIZE),
    st.sampled_from(
        [0, PAGE_SIZE, DISKSIZE - 1, DISKSIZE, 1 << 63, U64_MAX - PAGE_SIZE, U64_MAX]
    ),
    st.integers(0, U64_MAX),
)
sizes = st.one_of(
    st.integers(0, 3 * PAGE_SIZE),
    st.sampled_from([0, 1, PAGE_SIZE, DISKSIZE, 1 << 31, U32_MAX]),
)
lengths = st.one_of(sizes, offsets)
u32s = st.one_of(st.integers(0, 64), st.integers(0, U32_MAX))
inodes = st.one_of(st.just(wires.SWAPFILE), st.integers(0, 40), st.just(U64_MAX))
NEVER_HANDED_OVER = {wires.INTERRUPT, wires.FALLOCATE, wires.LSEEK}

opcodes = st.one_of(
    st.integers(0, 60),
    st.sampled_from([wires.READ, wires.WRITE, wires.FALLOCATE, wires.LSEEK]),
    st.integers(0, U32_MAX),
)
kinds = st.sampled_from(["text", "half", "rand", "same:7", "zero"])


@dataclass(frozen=True, slots=True)
class Sent:
    """A message, and what it does to the device if it is taken."""

    message: bytes
    offset: int = 0
    data: bytes = b""
    """What the bytes at *offset* are afterwards."""
    is_for_libfuse: bool = False


@st.composite
def reads(draw: st.DrawFn) -> Sent:
    return Sent(wires.read(1, draw(offsets), draw(sizes)))


@st.composite
def writes(draw: st.DrawFn) -> Sent:
    """Draw a WRITE that may claim to have less or more data than it has."""
    offset, claimed = draw(offsets), draw(sizes)
    data = make_page(draw(kinds))[: draw(st.integers(0, PAGE_SIZE))]
    body = wires.WRITE_IN.pack(wires.SWAPFILE, offset, claimed, 0, 0, 0, 0)
    taken = data[:claimed] if claimed <= len(data) else b""
    return Sent(wires.request(wires.WRITE, 1, body + data), offset, taken)


@st.composite
def fallocates(draw: st.DrawFn) -> Sent:
    offset, length = draw(offsets), draw(lengths)
    mode = draw(st.one_of(st.sampled_from([2, 3, 16, 17]), u32s))
    freed = mode in {2, 3, 16, 17} and offset < DISKSIZE
    data = bytes(min(length, DISKSIZE - offset)) if freed else b""
    return Sent(wires.fallocate(1, offset, length, mode), offset, data)


@st.composite
def lseeks(draw: st.DrawFn) -> Sent:
    whence = draw(st.one_of(st.sampled_from([os.SEEK_DATA, os.SEEK_HOLE]), u32s))
    return Sent(wires.lseek(1, draw(offsets), whence))


@st.composite
def strangers(draw: st.DrawFn) -> Sent:
    """Draw a request for another inode, or of a kind that the lane does not know."""
    opcode, nodeid = draw(opcodes), draw(inodes)
    body = draw(st.binary(max_size=200))
    if nodeid == wires.SWAPFILE and opcode in {wires.WRITE, wires.FALLOCATE}:
        body = body[:31]  # too short to be valid, or the model must know it
    return Sent(
        wires.request(opcode, 1, body, nodeid=nodeid),
        is_for_libfuse=nodeid != wires.SWAPFILE and opcode not in NEVER_HANDED_OVER,
    )


@st.composite
def truncated(draw: st.DrawFn) -> Sent:
    """Draw the beginning of a request that changes nothing unless it is whole."""
    sent = draw(st.one_of(reads(), lseeks(), fallocates(), strangers()))
    length = draw(st.integers(1, len(sent.message) - 1))
    return Sent(sent.message[:length])


@st.composite
def noise(draw: st.DrawFn) -> Sent:
    """Draw bytes that are no header; a valid one for the swapfile is not drawn."""
    message = bytearray(draw(st.binary(min_size=1, max_size=120)))
    message[17:24] = b"\xff" * len(message[17:24])  # of the nodeid
    return Sent(bytes(message))


def device_bytes(rig: Rig) -> bytearray:
    """Return what is in the device, without asking the lane."""
    return bytearray(trio.run(rig.bio.read, 0, DISKSIZE))


@contextmanager
def filled_rig(spilled: str = "") -> Iterator[Rig]:
    """Yield a lane in front of a device with a page of each kind, and verify it.

    The pages *spilled*, in words of `writeback`, are written back.
    """
    with opened_device() as device:
        attach_memory(device, NR_PAGES)
        device.set_disksize(DISKSIZE)
        for index, kind in enumerate(["text", "half", "rand", "same:7", "zero"]):
            write_page(device, index, kind)
        with spilled_rig(device, spilled) as (rig, _):
            yield rig
            verify(device)


def check(rig: Rig, sent: Sent) -> None:
    """Send, and hold the device against what it must be then."""
    expected = device_bytes(rig)
    if sent.offset < DISKSIZE:
        end = min(sent.offset + len(sent.data), DISKSIZE)
        expected[sent.offset : end] = sent.data[: end - sent.offset]

    answers = rig.ask(sent.message)
    handed_over = rig.handed_over()

    assert device_bytes(rig) == expected
    is_request = len(sent.message) >= wires.IN_HEADER.size
    assert len(answers) + len(handed_over) <= is_request
    for answer in answers:
        assert answer.unique == 1
        assert not answer.error or -answer.error in ERRNOS
    if sent.is_for_libfuse:
        assert handed_over
    for message in handed_over:
        assert message == sent.message


@unhurried
@given(
    st.lists(st.one_of(reads(), writes(), fallocates(), lseeks()), max_size=6),
    st.sampled_from(RwPage),
    st.sampled_from(["", "page_index=1", "page_indexes=0-2"]),
)
def test_requests_for_the_swapfile_do_what_they_say(
    requests: list[Sent], mode: RwPage, spilled: str
) -> None:
    with filled_rig(spilled) as rig:
        rig.paths.select(mode)
        for sent in requests:
            check(rig, sent)


@unhurried
@given(st.lists(st.one_of(strangers(), truncated(), noise()), max_size=6))
def test_nonsense_changes_nothing(messages: list[Sent]) -> None:
    with filled_rig() as rig:
        for sent in messages:
            check(rig, sent)


@unhurried
@given(
    st.lists(
        st.one_of(writes(), fallocates(), truncated(), truncated(), noise()),
        max_size=12,
    )
)
def test_nonsense_between_writes_changes_nothing(messages: list[Sent]) -> None:
    with filled_rig() as rig:
        for sent in messages:
            check(rig, sent)


@unhurried
@given(st.lists(st.binary(min_size=16, max_size=200), max_size=6))
def test_libfuse_may_say_anything(replies: list[bytes]) -> None:
    with filled_rig() as rig:
        for reply in replies:
            rig.libfuse.send(reply)

        assert rig.ask_raw() == replies
        assert rig.ask(wires.read(1, 0, 4))[0].error == 0
