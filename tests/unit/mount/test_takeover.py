"""zramfs.mount.takeover: going on with a connection that another worker had."""

import errno
from collections.abc import Iterator
from contextlib import closing

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.unit.mount import wires
from tests.unit.mount.rig import DevFuse, Rig, drain
from tests.unit.mount.wires import Reply, parsed
from zramfs.core.device import Device
from zramfs.mount.relay import Relay
from zramfs.mount.rw_page import Lane
from zramfs.mount.takeover import Heir, Openers, SavedInit, can_resend

RESENT = 1 << 63
EXT = 1 << 30
HAS_RESEND = 1 << 7  # FUSE_HAS_RESEND is 1 << 39, in the second word

INIT = wires.init(2, flags=EXT, flags2=HAS_RESEND)


@pytest.mark.parametrize(
    ("request_", "can"),
    [
        (INIT, True),
        (wires.init(2, flags=EXT), False),
        (wires.init(2, flags2=HAS_RESEND), False),  # then flags2 means nothing
        (INIT[:56], False),
        (b"", False),
    ],
    ids=["6.9", "6.8", "unextended", "short", "none"],
)
def test_the_kernel_says_whether_it_sends_again(request_: bytes, *, can: bool) -> None:
    assert can_resend(request_) is can


def test_an_init_is_saved_in_the_header(device: Device) -> None:
    saved = SavedInit(device.header)
    before = saved.request

    saved.save(memoryview(INIT))

    assert (before, SavedInit(device.header).request) == (b"", INIT)


class Heritage:
    """A rig whose lane is not the first on its connection."""

    def __init__(self, device: Device) -> None:
        self.rig = Rig(device)
        self.caught_up = 0
        SavedInit(device.header).save(memoryview(INIT))
        connection = self.rig.connection.fileno()
        relay = Relay(connection, self.rig.lane_end)
        heir = Heir(device, connection, relay, self._note)
        lane = Lane(device, self.rig.bio, self.rig.paths, connection, relay, heir)
        self.rig.lane = lane

    def _note(self) -> None:
        self.caught_up += 1

    def take_over(self, *requests: bytes) -> list[Reply]:
        """Return the answers to *requests*, which wait already."""
        answers = self.rig.ask_raw(*requests)
        assert answers.pop(0) == RESEND
        return [parsed(answer) for answer in answers]

    def close(self) -> None:
        self.rig.close()


RESEND = wires.answer(0, error=7)
"""FUSE_NOTIFY_RESEND, where an answer has its error."""


@pytest.fixture
def heritage(device: Device) -> Iterator[Heritage]:
    with closing(Heritage(device)) as heritage:
        yield heritage


def test_the_kernel_is_asked_again_before_anything_is_read(heritage: Heritage) -> None:
    assert heritage.take_over() == []
    assert heritage.caught_up == 1


def test_what_is_sent_again_is_accessed_now(heritage: Heritage, device: Device) -> None:
    heritage.take_over(wires.write(RESENT | 4, 0, b"x" * 4096))

    assert device.store.table.ac_time[0] > 0


def test_what_is_sent_again_is_answered_as_it_came(heritage: Heritage) -> None:
    page = b"x" * 4096
    requests = [wires.write(RESENT | 4, 0, page), wires.read(RESENT | 6, 0, 8)]

    replies = heritage.take_over(*requests)

    assert replies == [
        Reply(RESENT | 4, 0, wires.written(4096)),
        Reply(RESENT | 6, 0, b"x" * 8),
    ]


def test_libfuse_is_given_the_init_before_all_else(heritage: Heritage) -> None:
    getattr_ = wires.request(wires.GETATTR, RESENT | 8, bytes(16))

    heritage.take_over(getattr_)

    assert heritage.rig.handed_over() == [INIT, getattr_]


def test_the_answer_to_an_init_of_long_ago_is_dropped(heritage: Heritage) -> None:
    async def main() -> None:
        async with heritage.rig.serving():
            await wait_all_tasks_blocked()
            heritage.rig.libfuse.send(wires.answer(2, bytes(64)))
            heritage.rig.libfuse.send(wires.answer(8, b"attributes"))
            await wait_all_tasks_blocked()

    trio.run(main)

    told, *answers = drain(heritage.rig.kernel)
    assert told == RESEND
    assert [parsed(answer) for answer in answers] == [Reply(8, 0, b"attributes")]


def test_an_init_that_was_not_answered_is_sent_again(heritage: Heritage) -> None:
    again = wires.init(RESENT | 2, flags=EXT, flags2=HAS_RESEND)

    heritage.take_over(again)

    assert heritage.rig.handed_over() == [again]


def test_new_requests_are_served_after_those_sent_again(
    heritage: Heritage, device: Device
) -> None:
    new = [wires.write(20, 0, b"n" * 4096), wires.read(22, 0, 1)]
    old = wires.write(RESENT | 4, 0, b"o" * 4096)

    replies = heritage.take_over(wires.request(wires.FORGET, 0), old, *new)

    assert [reply.unique for reply in replies] == [RESENT | 4, 20, 22]
    assert device.read(0, 1) == b"n"


def test_catching_up_ends_when_the_mount_has_gone(
    heritage: Heritage, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = heritage.rig
    dev_fuse = DevFuse(rig.connection, rig.kernel, monkeypatch)
    dev_fuse.read_errors = [errno.ENOENT, errno.EINTR, errno.ENODEV, errno.ENODEV]

    assert heritage.take_over() == []


OPENED = 5
"""The unique of an OPEN whose worker died over it."""


@pytest.fixture
def openers(device: Device) -> Iterator[Openers]:
    device.open()  # one is open anyway
    yield Openers(device)
    device.openers = 0


@pytest.mark.parametrize("again", [False, True])
def test_an_open_is_counted_once_wherever_its_worker_died(
    heritage: Heritage, device: Device, openers: Openers, *, again: bool
) -> None:
    openers.begin(OPENED)
    device.open()
    requests = [wires.open_swapfile(RESENT | OPENED)] if again else []

    replies = heritage.take_over(*requests)

    assert len(replies) == len(requests)
    assert device.openers == 2


@pytest.mark.parametrize("again", [False, True])
def test_a_release_is_counted_once_wherever_its_worker_died(
    heritage: Heritage, device: Device, openers: Openers, *, again: bool
) -> None:
    openers.begin(OPENED)
    device.release()
    requests = [wires.release_swapfile(RESENT | OPENED)] if again else []

    replies = heritage.take_over(*requests)

    assert len(replies) == len(requests)
    assert device.openers == 0


def test_an_open_before_the_one_in_doubt_does_not_hide_it(
    heritage: Heritage, device: Device, openers: Openers
) -> None:
    openers.begin(OPENED)
    device.open()

    replies = heritage.take_over(
        wires.open_swapfile(RESENT | 3),
        wires.open_swapfile(RESENT | OPENED),
        wires.release_swapfile(31),
    )

    assert [reply.unique for reply in replies] == [RESENT | 3, RESENT | OPENED, 31]
    assert device.openers == 2


@pytest.mark.usefixtures("openers")
def test_an_open_that_died_before_it_was_counted_is_counted(
    heritage: Heritage, device: Device
) -> None:
    heritage.take_over(wires.open_swapfile(RESENT | OPENED))

    assert device.openers == 2


def test_an_open_that_dies_twice_is_counted_once(
    heritage: Heritage, device: Device, openers: Openers
) -> None:
    openers.begin(OPENED)
    device.open()
    # The second worker undoes that, counts it, and dies before it has answered.
    openers.undo_if_resent(RESENT | OPENED)
    openers.begin(RESENT | OPENED)
    device.open()

    heritage.take_over(wires.open_swapfile(RESENT | OPENED))

    assert device.openers == 2


def test_opening_and_closing_is_answered_by_the_lane(rig: Rig, device: Device) -> None:
    opened, released = rig.ask(wires.open_swapfile(4), wires.release_swapfile(6))

    direct_io = 1
    assert opened == Reply(4, 0, wires.opened(wires.SWAPFILE, direct_io))
    assert released == Reply(6, 0)
    assert device.openers == 0
    assert rig.handed_over() == []
