"""zramfs.mount.rw_page: whose turn it is: bursts, spinning, and everybody else."""

import os

import trio

from tests.unit.mount import wires
from tests.unit.mount.rig import DevFuse, Rig
from zramfs.mount.paths import RwPage

BURST = 64
BETWEEN = 2 * BURST
"""Requests between two turns of a task: trio shuffles whose turn it is."""


def tiny(unique: int) -> bytes:
    """Return a request whose answer is small, so that many fit in a socket."""
    return wires.lseek(unique, 0, os.SEEK_HOLE)


def test_a_burst_ends_so_that_others_run(rig: Rig) -> None:
    turns: list[int] = []

    async def others() -> None:
        while sum(turns) < 4 * BURST:
            await trio.lowlevel.checkpoint()
            turns.append(len(rig.answers()))

    async def main() -> None:
        async with rig.serving():
            with trio.fail_after(5):
                await others()

    for unique in range(1, 4 * BURST + 1):
        rig.kernel.send(tiny(unique))
    trio.run(main)

    assert max(turns) <= BETWEEN


def test_a_burst_serves_more_than_one_request(rig: Rig) -> None:
    async def one_turn() -> None:
        async with rig.serving():
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()

    for unique in range(1, 11):
        rig.kernel.send(tiny(unique))
    trio.run(one_turn)

    assert len(rig.answers()) == 10


def test_the_lane_waits_a_moment_for_the_next_request(rig: Rig) -> None:
    rig.ask(tiny(1))

    assert rig.paths.stat.spins == 1


def test_an_idle_lane_sleeps(rig: Rig) -> None:
    rig.ask(tiny(1))
    for _ in range(3):
        rig.ask()

    assert rig.paths.stat.spins == 1


def test_a_request_that_comes_meanwhile_pays(rig: Rig, dev_fuse: DevFuse) -> None:
    dev_fuse.late.append(tiny(2))

    answers = rig.ask(tiny(1))

    assert [answer.unique for answer in answers] == [1, 2]
    assert (rig.paths.stat.spins, rig.paths.stat.spins_paid) == (2, 1)


def test_the_lane_does_not_wait_while_libfuse_owes_an_answer(rig: Rig) -> None:
    rig.ask(wires.request(wires.GETATTR, 1))
    rig.ask(tiny(2), tiny(3))

    assert rig.paths.stat.spins == 0

    rig.libfuse.send(wires.answer(1))
    rig.ask()
    rig.ask(tiny(4))

    assert rig.paths.stat.spins == 1


def test_the_lane_does_not_wait_while_a_task_owes_an_answer(rig: Rig) -> None:
    rig.paths.select(RwPage.OFF)

    rig.ask(wires.read(1, 0, 4))

    assert rig.paths.stat.spins == 0


def test_the_lane_waits_again_when_the_tasks_have_answered(rig: Rig) -> None:
    rig.paths.select(RwPage.OFF)
    rig.ask(wires.read(1, 0, 4))
    rig.paths.select(RwPage.ALWAYS)

    rig.ask(tiny(2))

    assert rig.paths.stat.spins == 1


def test_a_client_that_never_pauses_starves_nobody(rig: Rig, dev_fuse: DevFuse) -> None:
    turns: list[int] = []

    async def others() -> None:
        while dev_fuse.late:
            await trio.lowlevel.checkpoint()
            turns.append(len(rig.answers()))

    async def main() -> None:
        async with rig.serving():
            with trio.fail_after(5):
                await others()

    dev_fuse.late.extend(map(tiny, range(2, 10 * BURST)))
    rig.kernel.send(tiny(1))
    trio.run(main)

    assert max(turns) <= BETWEEN
    assert rig.paths.stat.spins_paid > 0
