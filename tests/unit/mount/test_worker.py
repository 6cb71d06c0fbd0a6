"""zramfs.mount.worker: the process that serves a mount, within this one."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyfuse3
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.unit.mount import wires
from tests.unit.mount.overseer import Overseer, unchanged_signals
from tests.unit.mount.rig import pair
from zramfs.core.device import Device
from zramfs.core.lifecycle import State
from zramfs.errors import DeviceBusy, InvalidValue, MountRefused
from zramfs.memory import MemFile
from zramfs.mount import loops, session, worker
from zramfs.mount.bio import Bio
from zramfs.mount.channel import Message, Word
from zramfs.mount.config import Config
from zramfs.mount.measures import Measure
from zramfs.mount.paths import PathStat
from zramfs.mount.reserve import Reserve
from zramfs.mount.safety import Safety
from zramfs.mount.server import Server
from zramfs.mount.takeover import SavedInit
from zramfs.mount.watchdog import FaultWatch

CONFIG = Config(
    mountpoint="/mnt/z",
    settings={},
    data_path="lane",
    foreground=True,
    log_file=None,
)


@pytest.fixture
def made() -> Iterator[list[Device]]:
    """Devices that are given back at the end."""
    devices: list[Device] = []
    yield devices
    for device in devices:
        device.reset()
        assert isinstance(device._memory, MemFile)
        os.close(device._memory.fd)


def make(settings: dict[str, str]) -> Device:
    return worker.make_device(MemFile(), settings)


def test_a_device_is_made_with_its_settings(made: list[Device]) -> None:
    settings = {"disksize": "1M", "comp_algorithm": "zstd", "mem_limit": "64K"}

    device = make(settings)
    made.append(device)

    assert (device.disksize, device.config.algorithms[0]) == (1 << 20, "zstd")
    assert device.mem_limit == 1 << 16


def test_a_device_without_settings_is_bare(made: list[Device]) -> None:
    device = make({"rw_page": "off"})
    made.append(device)

    assert device.state is State.BARE


def test_a_setting_that_the_device_refuses_is_refused() -> None:
    with pytest.raises(InvalidValue, match="no algorithm 'rar'"):
        make({"comp_algorithm": "rar"})


@dataclass(slots=True)
class World:
    """What a worker meets, as far as a test wants it to."""

    monkeypatch: pytest.MonkeyPatch
    ended: list[str] = field(default_factory=list)

    def terminate(self) -> None:
        self.ended.append("terminated")

    def unmount(self, path: Path, *, lazy: bool) -> None:
        self.ended.append(f"unmounted {path}{' lazily' * lazy}")

    def attach(self, *names: Path) -> None:
        self.monkeypatch.setattr(loops, "loops_on", lambda _: list(names))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """No loop devices, and a libfuse that notes when it is to end; signals as before.

    What a worker leaves ignored would be ignored by all that later tests start.
    """
    world = World(monkeypatch)
    world.attach()
    monkeypatch.setattr(pyfuse3, "terminate", world.terminate)
    monkeypatch.setattr(session, "unmount", world.unmount)
    with unchanged_signals():
        yield world


async def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    await wait_all_tasks_blocked()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_mount(
    world: World, number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(
                worker._end_on_signal, Path("/mnt/z"), nursery.cancel_scope.cancel
            )
            await send(number)

    caplog.set_level("INFO")
    trio.run(main)

    assert world.ended == ["unmounted /mnt/z lazily", "terminated"]
    assert caplog.messages == [f"{number.name}: unmounting /mnt/z"]


def test_a_signal_is_ignored_while_a_loop_device_stands_on_it(
    world: World, announced: list[str]
) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(
                worker._end_on_signal, Path("/mnt/z"), nursery.cancel_scope.cancel
            )
            await send(signal.SIGTERM)
            nursery.cancel_scope.cancel()

    world.attach(Path("/dev/loop3"))
    announced.append(
        "SIGTERM ignored: /dev/loop3 is attached; .*'zramfs swapoff /mnt/z'"
    )
    trio.run(main)

    assert world.ended == []


def test_a_later_signal_ends_it_when_the_loop_device_has_gone(
    world: World, announced: list[str]
) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(
                worker._end_on_signal, Path("/mnt/z"), nursery.cancel_scope.cancel
            )
            await send(signal.SIGTERM)
            world.attach()
            await send(signal.SIGTERM)

    world.attach(Path("/dev/loop3"))
    announced.append("SIGTERM ignored")
    trio.run(main)

    assert world.ended == ["unmounted /mnt/z lazily", "terminated"]


class Brief(Server):
    """A server that has served."""

    async def serve(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.fixture
def overseer() -> Iterator[Overseer]:
    """The other end of a worker's channel."""
    with closing(Overseer()) as overseer:
        yield overseer


@pytest.mark.usefixtures("world")
def test_serving_ends_the_wait_for_signals(device: Device, overseer: Overseer) -> None:
    safety = Safety(Path("/mnt/z"), faults=FaultWatch(), reserve=Reserve(lambda: 0))
    bio = Bio(device, PathStat())
    server = Brief(device=device, bio=bio, lane=None, safety=safety)

    trio.run(worker._serve, CONFIG, server, overseer.lifeline())

    # What comes while it ends must not kill it.
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    assert overseer.messages() == [Message(word=Word.READY)]


def run_main(config: Config, overseer: Overseer) -> int:
    words = ["worker", config.to_json(), str(overseer.theirs.detach())]
    with pytest.MonkeyPatch.context() as monkeypatch, unchanged_signals():
        monkeypatch.setattr(sys, "argv", words)
        return worker.main()


@pytest.mark.parametrize(
    ("error", "sentences"),
    [
        (MountRefused("no"), ["no"]),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x"), ["/x: No such file"]),
        (
            ExceptionGroup(
                "", [DeviceBusy("a"), ExceptionGroup("", [DeviceBusy("b")])]
            ),
            ["a", "b"],
        ),
    ],
    ids=["refusal", "system", "groups"],
)
def test_a_deliberate_end_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    overseer: Overseer,
    error: Exception,
    sentences: list[str],
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(worker, "run", fail)
    overseer.start()

    assert run_main(CONFIG, overseer) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"zramfs: {sentence}" for sentence in sentences
    ]
    assert overseer.messages() == [Message(word=Word.FAILED, text="; ".join(sentences))]


def test_an_unexpected_end_is_logged_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
    announced: list[str],
    caplog: pytest.LogCaptureFixture,
    overseer: Overseer,
) -> None:
    def fail(*_: object) -> None:
        raise ExceptionGroup("", [KeyError("what"), DeviceBusy("busy")])

    announced.append("CRITICAL: the worker has failed")
    monkeypatch.setattr(worker, "run", fail)
    overseer.start()

    assert run_main(CONFIG, overseer) == 1
    assert "KeyError: 'what'" in caplog.text


def test_a_supervisor_that_has_gone_ends_it_before_its_turn(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    overseer: Overseer,
) -> None:
    monkeypatch.setattr(worker, "harden", list)
    overseer.start()
    overseer.channel.close()

    assert run_main(CONFIG, overseer) == 1
    assert capsys.readouterr().err == "zramfs: the supervisor has gone\n"


def test_memory_of_another_format_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    overseer: Overseer,
) -> None:
    monkeypatch.setattr(worker, "harden", list)
    overseer.memory.header.words.version += 1
    overseer.start(generation=1)

    assert run_main(CONFIG, overseer) == 1
    assert "the memory is of format 2" in capsys.readouterr().err


@pytest.mark.parametrize("generation", [0, 1])
def test_a_worker_serves_until_another_is_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
    announced: list[str],
    overseer: Overseer,
    generation: int,
) -> None:
    refused = Measure(name="mlockall", refusal="not now", consequence="swapping")
    monkeypatch.setattr(worker, "harden", lambda: [refused])
    if generation == 0:
        announced.append("mlockall: refused .not now.: swapping")
    else:
        # Without READDIRPLUS pyfuse3 takes a kernel for too old.
        init = wires.init(2, flags=1 << 13)
        SavedInit(overseer.memory.header).save(memoryview(init))
    end, connection = pair()
    overseer.start(generation)
    overseer.give_turn(connection.fileno())
    waiting = overseer.stop_when_ready()

    with closing(end), closing(connection):
        status = run_main(replace(CONFIG, settings={"disksize": "1M"}), overseer)
        waiting.join()

    assert status == 0
    # Only the first makes the device as it was told to.
    assert bool(overseer.memory.header.words.nr_slots) is (generation == 0)
