"""zramfs.mount.relay: what goes to libfuse, what comes back, and how it ends."""

import errno
import os

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.unit.mount import wires
from tests.unit.mount.rig import DevFuse, Rig
from tests.unit.mount.wires import CONTROL_FILE, Reply
from zramfs.units import PAGE_SIZE

GETATTR = wires.request(wires.GETATTR, 5, bytes(16))
MAX_BACKGROUND = 128


def init_out(max_background: int = 12, congestion_threshold: int = 9) -> bytes:
    """Return struct fuse_init_out."""
    return wires.INIT_OUT.pack(
        7, 38, 1 << 17, 3, max_background, congestion_threshold, 1 << 20, 1, 256, 0, 0
    )


@pytest.mark.parametrize(
    "message",
    [
        GETATTR,
        wires.request(wires.LOOKUP, 6, b"swapfile\0", nodeid=1),
        wires.request(wires.READ, 7, bytes(40), nodeid=CONTROL_FILE),
        wires.write(8, 0, b"1G\n", nodeid=CONTROL_FILE),
        wires.request(wires.INIT, 10, bytes(64), nodeid=0),
        wires.request(wires.DESTROY, 11, nodeid=0),
        wires.request(9999, 12, b"unknown"),
        wires.request(0, 13),
        wires.request(wires.GETATTR, 14, nodeid=(1 << 64) - 1),
    ],
    ids=lambda message: f"{message[4]:#x}-{message[8]}",
)
def test_any_other_request_goes_to_libfuse_unchanged(rig: Rig, message: bytes) -> None:
    assert rig.ask(message) == []
    assert rig.handed_over() == [message]


def test_requests_go_to_libfuse_in_their_order(rig: Rig) -> None:
    messages = [wires.request(wires.GETATTR, unique) for unique in range(1, 30)]

    rig.ask(*messages)

    assert rig.handed_over() == messages


def test_a_request_holds_nothing_of_the_one_before(rig: Rig) -> None:
    rig.ask(wires.write(1, 0, b"secret" * 500), GETATTR)

    assert rig.handed_over() == [GETATTR]


def test_a_long_write_to_a_control_file_is_cut_to_a_page(rig: Rig) -> None:
    data = bytes(range(256)) * 32

    rig.ask(wires.write(7, 3, data, nodeid=CONTROL_FILE))

    assert rig.handed_over() == [
        wires.write(7, 3, data[:PAGE_SIZE], nodeid=CONTROL_FILE)
    ]


@pytest.mark.parametrize("size", [0, 1, PAGE_SIZE - 1, PAGE_SIZE])
def test_a_write_of_at_most_a_page_is_not_cut(rig: Rig, size: int) -> None:
    message = wires.write(7, 0, bytes(size), nodeid=CONTROL_FILE)

    rig.ask(message)

    assert rig.handed_over() == [message]


def test_an_interrupt_is_dropped(rig: Rig) -> None:
    message = wires.request(wires.INTERRUPT, 0, (4).to_bytes(8, "little"), nodeid=0)

    assert rig.ask(message) == []
    assert rig.handed_over() == []


END = PAGE_SIZE
"""Of a control file."""


@pytest.mark.parametrize(
    ("whence", "offset", "answer"),
    [
        (os.SEEK_DATA, 0, Reply(1, 0, wires.found(0))),
        (os.SEEK_DATA, 81, Reply(1, 0, wires.found(81))),
        (os.SEEK_HOLE, 0, Reply(1, 0, wires.found(END))),
        (os.SEEK_HOLE, END - 1, Reply(1, 0, wires.found(END))),
        (os.SEEK_DATA, END, Reply(1, -errno.ENXIO)),
        (os.SEEK_HOLE, END, Reply(1, -errno.ENXIO)),
        (os.SEEK_HOLE, (1 << 64) - 1, Reply(1, -errno.ENXIO)),
        (os.SEEK_SET, 0, Reply(1, -errno.EINVAL)),
        (5, END, Reply(1, -errno.EINVAL)),
    ],
)
def test_all_of_a_control_file_is_data(
    rig: Rig, whence: int, offset: int, answer: Reply
) -> None:
    assert rig.ask(wires.lseek(1, offset, whence, nodeid=CONTROL_FILE)) == [answer]
    assert rig.handed_over() == []


def test_a_short_seek_of_a_control_file_is_invalid(rig: Rig) -> None:
    message = wires.request(wires.LSEEK, 1, bytes(23), nodeid=CONTROL_FILE)

    assert rig.ask(message) == [Reply(1, -errno.EINVAL)]


@pytest.mark.parametrize("size", [0, 32])
def test_fallocate_of_a_control_file_is_refused_for_that_file_only(
    rig: Rig, size: int
) -> None:
    """After ENOSYS, which libfuse answers, the kernel would ask for no file again."""
    message = wires.request(wires.FALLOCATE, 1, bytes(size), nodeid=CONTROL_FILE)

    assert rig.ask(message) == [Reply(1, -errno.EOPNOTSUPP)]
    assert rig.handed_over() == []


@pytest.mark.parametrize("opcode", [wires.FORGET, wires.BATCH_FORGET])
def test_a_forget_is_passed_on_and_not_waited_for(rig: Rig, opcode: int) -> None:
    message = wires.request(opcode, 4, bytes(16), nodeid=CONTROL_FILE)

    rig.ask(message, wires.lseek(5, 0, os.SEEK_HOLE))

    assert rig.handed_over() == [message]
    assert rig.paths.stat.spins == 1


def test_an_answer_of_libfuse_is_copied_as_it_is(rig: Rig) -> None:
    reply = wires.answer(5, bytes(range(120)))
    rig.ask(GETATTR)
    rig.libfuse.send(reply)

    assert rig.ask_raw() == [reply]


def test_an_error_of_libfuse_is_copied_as_it_is(rig: Rig) -> None:
    rig.ask(GETATTR)
    rig.libfuse.send(wires.answer(5, error=-errno.ENOSYS))

    assert rig.ask() == [Reply(5, -errno.ENOSYS)]


def test_a_notification_is_copied_and_answers_nothing(rig: Rig) -> None:
    rig.ask(GETATTR)
    rig.libfuse.send(wires.answer(0, b"FUSE_NOTIFY_INVAL_INODE.", error=2))

    answers = rig.ask(wires.lseek(6, 0, os.SEEK_HOLE))

    assert Reply(0, 2, b"FUSE_NOTIFY_INVAL_INODE.") in answers
    assert rig.paths.stat.spins == 0  # the GETATTR is still waited for


def test_the_answer_to_init_allows_more_in_the_background(rig: Rig) -> None:
    rig.ask(wires.request(wires.INIT, 1, bytes(64), nodeid=0))
    rig.libfuse.send(wires.answer(1, init_out()))

    assert rig.ask() == [Reply(1, 0, init_out(MAX_BACKGROUND, 96))]


def test_only_the_answer_to_init_is_completed(rig: Rig) -> None:
    rig.ask(wires.request(wires.INIT, 1, bytes(64), nodeid=0), GETATTR)
    rig.libfuse.send(wires.answer(5, init_out()))
    rig.libfuse.send(wires.answer(1, init_out()))
    rig.libfuse.send(wires.answer(1, init_out()))

    bodies = [answer.body for answer in rig.ask()]

    assert bodies == [init_out(), init_out(MAX_BACKGROUND, 96), init_out()]


def test_a_refusal_of_init_is_copied_as_it_is(rig: Rig) -> None:
    rig.ask(wires.request(wires.INIT, 1, bytes(64), nodeid=0))
    rig.libfuse.send(wires.answer(1, error=-errno.EPROTO))

    assert rig.ask() == [Reply(1, -errno.EPROTO)]


def test_requests_wait_in_order_while_the_socket_is_full(rig: Rig) -> None:
    messages = [wires.request(wires.GETATTR, i, bytes(3000)) for i in range(1, 31)]
    rig.make_small(rig.lane_end)

    rig.ask(*messages)
    first = rig.handed_over()
    assert 0 < len(first) < len(messages)
    handed_over = list(first)
    while len(handed_over) < len(messages):
        rig.libfuse.send(wires.answer(handed_over[-1][8]))
        rig.ask()
        handed_over += rig.handed_over()

    assert handed_over == messages


def test_pages_are_served_while_libfuse_is_busy(rig: Rig) -> None:
    rig.make_small(rig.lane_end)
    rig.ask(*(wires.request(wires.GETATTR, i, bytes(3000)) for i in range(1, 31)))

    assert rig.ask(wires.read(99, 0, 4)) == [Reply(99, 0, bytes(4))]


def test_a_request_too_large_for_libfuse_is_refused_alone(rig: Rig) -> None:
    rig.make_small(rig.lane_end)

    answers = rig.ask(wires.request(9999, 3, bytes(20000)), GETATTR)

    assert answers == [Reply(3, -errno.EMSGSIZE)]
    assert rig.handed_over() == [GETATTR]


def test_what_waited_is_refused_when_libfuse_has_gone(rig: Rig) -> None:
    rig.libfuse.close()

    answers = rig.ask(GETATTR, wires.request(wires.GETATTR, 6))

    assert answers == [Reply(5, -errno.EPIPE), Reply(6, -errno.EPIPE)]


def test_pages_are_served_when_libfuse_has_gone(rig: Rig) -> None:
    rig.libfuse.close()
    rig.ask()

    assert rig.ask(wires.read(1, 0, 4)) == [Reply(1, 0, bytes(4))]


@pytest.mark.parametrize("length", [1, 4, 39])
def test_a_message_shorter_than_its_header_is_no_request(rig: Rig, length: int) -> None:
    rig.ask(GETATTR)
    rig.handed_over()

    assert rig.ask(GETATTR[:length]) == []
    assert rig.handed_over() == []


def test_serving_ends_with_the_mount(rig: Rig, dev_fuse: DevFuse) -> None:
    async def main() -> None:
        with trio.fail_after(5):
            await rig.lane.serve()

    rig.kernel.send(wires.read(1, 0, 4))
    dev_fuse.read_errors = [errno.ENODEV]

    trio.run(main)

    assert rig.answers() == []


def test_requests_before_the_end_are_answered(rig: Rig, dev_fuse: DevFuse) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.lane.serve)
            rig.kernel.send(wires.read(1, 0, 4))
            await wait_all_tasks_blocked()
            dev_fuse.read_errors = [errno.ENODEV]
            rig.kernel.send(wires.read(2, 0, 4))

    trio.run(main)

    assert rig.answers() == [Reply(1, 0, bytes(4))]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EINTR])
def test_a_request_that_went_while_it_was_read_is_skipped(
    rig: Rig, dev_fuse: DevFuse, number: int
) -> None:
    dev_fuse.read_errors = [number, number]

    assert rig.ask(wires.read(1, 0, 4)) == [Reply(1, 0, bytes(4))]


def test_another_error_of_reading_ends_the_server(rig: Rig, dev_fuse: DevFuse) -> None:
    dev_fuse.read_errors = [errno.EPERM]

    with pytest.RaisesGroup(
        pytest.RaisesExc(PermissionError, match="Operation not permitted"),
        flatten_subgroups=True,
    ):
        rig.ask(wires.read(1, 0, 4))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV, errno.ECONNABORTED])
def test_the_answer_to_a_request_that_has_gone_is_dropped(
    rig: Rig, dev_fuse: DevFuse, number: int
) -> None:
    dev_fuse.write_errors = [number]

    answers = rig.ask(wires.write(1, 0, b"page"), wires.read(2, 0, 4))

    assert answers == [Reply(2, 0, b"page")]


def test_an_answer_that_the_kernel_does_not_take_costs_one_request(
    rig: Rig, dev_fuse: DevFuse
) -> None:
    dev_fuse.write_errors = [errno.EINVAL]

    answers = rig.ask(wires.read(1, 0, 4), wires.read(2, 0, 4))

    assert answers == [Reply(1, -errno.EINVAL), Reply(2, 0, bytes(4))]


def test_an_answer_of_libfuse_that_the_kernel_does_not_take_costs_one_request(
    rig: Rig, dev_fuse: DevFuse
) -> None:
    rig.ask(GETATTR, wires.request(wires.GETATTR, 6))
    dev_fuse.write_errors = [errno.EINVAL]
    rig.libfuse.send(wires.answer(5, b"nonsense"))
    rig.libfuse.send(wires.answer(6))

    assert rig.ask() == [Reply(5, -errno.EINVAL), Reply(6, 0)]


def test_a_notification_that_the_kernel_does_not_take_is_dropped(
    rig: Rig, dev_fuse: DevFuse
) -> None:
    dev_fuse.write_errors = [errno.EINVAL]
    rig.libfuse.send(wires.answer(0, error=2))

    assert rig.ask() == []
    assert rig.ask(wires.read(1, 0, 4)) == [Reply(1, 0, bytes(4))]
