"""zramfs.mount.bio: the asynchronous path, and one pass of long work at a time."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.pages import make_page
from tests.unit.requests import discard, write_page
from zramfs.core.attributes import ATTRIBUTES, Attribute
from zramfs.core.device import Change, Device
from zramfs.core.lifecycle import State
from zramfs.core.steps import Steps, Work
from zramfs.errors import DeviceBusy, InvalidValue, NoSpace, NotInitialised
from zramfs.memory import MemFile
from zramfs.mount.bio import Bio, run_steps
from zramfs.mount.paths import PathStat
from zramfs.units import PAGE_SIZE


@pytest.fixture
def bio(device: Device) -> Bio:
    return Bio(device, PathStat())


@dataclass(slots=True)
class LongWork:
    """Long work in steps, as an attribute; it notes what happens when."""

    name: str
    notes: list[str]
    nr_steps: int = 3
    exclusive: bool = True

    def _steps(self) -> Iterator[None]:
        self.notes.append(f"{self.name} begins")
        try:
            for _ in range(self.nr_steps):
                yield
        except GeneratorExit:
            self.notes.append(f"{self.name} is closed")
            raise
        self.notes.append(f"{self.name} ends")

    def row(self) -> Attribute:
        def parse(_text: str) -> Change:
            return lambda _: self._steps()

        return Attribute(name=self.name, parse=parse, exclusive=self.exclusive, doc="")


@dataclass(slots=True)
class FiveSteps:
    """Five steps, each noted when it is taken."""

    taken: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[None]:
        for step in range(5):
            self.taken.append(step)
            yield


def test_a_page_written_is_read_back(bio: Bio) -> None:
    page = make_page("text")

    assert trio.run(bio.write, 0, memoryview(page)) == PAGE_SIZE
    assert trio.run(bio.read, 0, PAGE_SIZE) == page


def test_requests_are_counted(device: Device) -> None:
    stat = PathStat()
    bio = Bio(device, stat)

    trio.run(bio.write, 0, memoryview(b"x"))
    trio.run(bio.read, 0, 1)
    trio.run(bio.read, 0, 1)

    assert (stat.bio_writes, stat.bio_reads) == (1, 2)


def test_requests_are_dated(bio: Bio, device: Device) -> None:
    trio.run(bio.read, 0, 1)

    assert device.store.now_s > 0


def test_the_ends_of_the_device_are_those_of_the_core(bio: Bio, device: Device) -> None:
    assert trio.run(bio.read, device.disksize - 3, PAGE_SIZE) == bytes(3)
    assert trio.run(bio.read, device.disksize, PAGE_SIZE) == b""
    with pytest.raises(NoSpace, match="the device ends"):
        trio.run(bio.write, device.disksize, memoryview(b"x"))


def test_steps_are_all_taken() -> None:
    steps = FiveSteps()

    trio.run(run_steps, iter(steps))

    assert steps.taken == [0, 1, 2, 3, 4]


def test_no_steps_are_no_work() -> None:
    trio.run(run_steps, None)


def test_others_run_between_two_steps() -> None:
    steps = FiveSteps()
    seen: list[int] = []

    async def watch() -> None:
        while len(steps.taken) < 5:
            seen.append(len(steps.taken))
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_steps, iter(steps))
            nursery.start_soon(watch)

    trio.run(main)

    assert len(set(seen)) >= 2


def test_cancelled_work_stops_between_two_steps() -> None:
    steps = FiveSteps()

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await run_steps(iter(steps))

    trio.run(main)

    assert steps.taken == [0]


def test_cancelled_work_is_closed() -> None:
    notes: list[str] = []
    steps = LongWork("pass", notes).row().store(Device(MemFile()), "")

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await run_steps(steps)

    trio.run(main)

    # Noted while *steps* is still held: nobody has collected it.
    assert notes == ["pass begins", "pass is closed"]
    assert steps


def test_work_that_fails_is_closed() -> None:
    notes: list[str] = []

    def refuse() -> None:
        raise NoSpace("refused")

    def failing() -> Steps:
        try:
            yield (work := Work(refuse))
            yield work
        finally:
            notes.append("closed")

    steps = failing()
    with pytest.raises(NoSpace, match="refused"):
        trio.run(run_steps, steps)

    assert notes == ["closed"]


def test_relative_paths_begin_where_the_writer_is(bio: Bio, device: Device) -> None:
    seen: list[str] = []

    def note(device: Device) -> None:
        seen.append(device.files.resolve("x"))

    def row(*, exclusive: bool) -> Attribute:
        return Attribute(name="path", parse=lambda _: note, exclusive=exclusive, doc="")

    trio.run(bio.store, row(exclusive=False), "", "/one")
    trio.run(bio.store, row(exclusive=True), "", "/two")
    trio.run(bio.store, row(exclusive=False), "")

    assert seen == ["/one/x", "/two/x", "x"]
    assert device.files.resolve("/absolute") == "/absolute"


def test_steps_go_on_while_work_is_under_way() -> None:
    notes: list[str] = []
    others = threading.Event()

    def wait() -> None:
        assert others.wait(10)
        notes.append("work ends")

    def steps() -> Steps:
        work = Work(wait)
        yield work
        notes.append("steps go on")
        yield None
        others.set()
        yield work
        notes.append("steps end")

    trio.run(run_steps, steps())

    assert notes == ["steps go on", "work ends", "steps end"]


def test_cancelled_work_ends_before_its_steps_are_closed() -> None:
    notes: list[str] = []
    begun, others = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert others.wait(10)
        notes.append("work ends")

    def steps() -> Steps:
        try:
            yield Work(wait)
            while True:
                yield None
        finally:
            notes.append("closed")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_steps, steps())
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()
            others.set()

    trio.run(main)

    assert notes == ["work ends", "closed"]


def test_long_work_goes_one_pass_at_a_time(bio: Bio) -> None:
    notes: list[str] = []
    passes = [LongWork(name, notes).row() for name in ("first", "second", "third")]

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for row in passes:
                nursery.start_soon(bio.store, row, "")

    trio.run(main)

    assert len(notes) == 6
    assert all(
        begin.removesuffix(" begins") == end.removesuffix(" ends")
        for begin, end in zip(notes[::2], notes[1::2], strict=True)
    )


def test_work_that_is_not_exclusive_waits_for_nobody(bio: Bio, device: Device) -> None:
    notes: list[str] = []

    def paused() -> Iterator[None]:
        notes.append("compact begins")
        yield
        notes.append("compact ends")

    row = Attribute(
        name="long", parse=lambda _: lambda _: paused(), exclusive=True, doc=""
    )

    async def pass_of_work() -> None:
        await bio.store(row, "")

    async def setting() -> None:
        await bio.store(ATTRIBUTES["mem_limit"], "1M")
        notes.append("mem_limit")

    async def main() -> None:
        async with trio.open_nursery() as nursery, bio._pass_lock:
            nursery.start_soon(pass_of_work)
            await wait_all_tasks_blocked()
            nursery.start_soon(setting)
            await wait_all_tasks_blocked()

    trio.run(main)

    assert notes == ["mem_limit", "compact begins", "compact ends"]
    assert device.mem_limit == 1 << 20


def test_a_reset_waits_for_a_running_compaction(bio: Bio, device: Device) -> None:
    notes: list[str] = []

    class Compacting:
        """A device's compaction, seen from outside."""

        def steps(self, device: Device) -> Steps:
            for _ in range(5):
                notes.append(device.state.value)
                yield None
            yield from device.compact()

    row = Attribute(
        name="compact",
        parse=lambda _: Compacting().steps,
        exclusive=True,
        doc="",
    )

    async def reset() -> None:
        await bio.store(ATTRIBUTES["reset"], "1")
        notes.append("reset")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bio.store, row, "")
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            nursery.start_soon(reset)

    trio.run(main)

    assert notes == ["initialised"] * 5 + ["reset"]
    assert device.state is State.BARE


def test_a_compaction_asked_for_before_a_reset_finds_it_done(
    bio: Bio, device: Device
) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery, bio._pass_lock:
            nursery.start_soon(bio.store, ATTRIBUTES["reset"], "1")
            await wait_all_tasks_blocked()
            nursery.start_soon(bio.compact)
            await wait_all_tasks_blocked()

    trio.run(main)

    assert device.state is State.BARE


def test_compacting_gives_memory_back(bio: Bio, device: Device) -> None:
    for index in range(64):
        write_page(device, index, "half")
    for index in range(0, 64, 2):
        discard(device, index, 1)
    before = device.mm_stat().mem_used_total

    trio.run(bio.compact)

    assert device.mm_stat().mem_used_total < before
    assert device.read(PAGE_SIZE, PAGE_SIZE) == make_page("half", 1)


def test_there_is_nothing_to_compact_without_a_disksize(bare: Device) -> None:
    trio.run(Bio(bare, PathStat()).compact)

    assert bare.state is State.BARE


def test_pages_are_written_while_a_compaction_goes_on(bare: Device) -> None:
    bare.set_disksize(4096 * PAGE_SIZE)
    bio = Bio(bare, PathStat())
    for index in range(2048):
        write_page(bare, index, "half")
    for index in range(1024):
        discard(bare, index, 1)
    nr_written = [0]

    async def write() -> None:
        while True:
            index = nr_written[0] % 4096
            await bio.write(index * PAGE_SIZE, memoryview(make_page("text", index)))
            nr_written[0] += 1
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await bio.compact()
            nursery.cancel_scope.cancel()

    trio.run(main)

    assert nr_written[0] > 1
    assert bare.read(2047 * PAGE_SIZE, PAGE_SIZE) == make_page("half", 2047)


def test_a_cancelled_compaction_leaves_the_device_in_order(bare: Device) -> None:
    bare.set_disksize(4096 * PAGE_SIZE)
    bio = Bio(bare, PathStat())
    for index in range(2048):
        write_page(bare, index, "half")
    for index in range(1024):
        discard(bare, index, 1)

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await bio.compact()

    trio.run(main)
    trio.run(bio.compact)

    assert bare.counters.pages_compacted > 0


def test_a_failed_pass_lets_the_next_one_in(bio: Bio, bare: Device) -> None:
    with pytest.raises(InvalidValue, match="reset wants a number"):
        trio.run(bio.store, ATTRIBUTES["reset"], "0")

    trio.run(bio.store, ATTRIBUTES["reset"], "1")

    assert bare.state is State.BARE


def test_a_store_at_the_wrong_time_is_refused(bare: Device) -> None:
    bio = Bio(bare, PathStat())

    with pytest.raises(NotInitialised, match="not initialised"):
        trio.run(bio.store, ATTRIBUTES["compact"], "1")


def test_a_reset_is_refused_while_the_swapfile_is_open(
    bio: Bio, device: Device
) -> None:
    device.open()

    with pytest.raises(DeviceBusy, match="the swapfile is open"):
        trio.run(bio.store, ATTRIBUTES["reset"], "1")

    assert device.state is State.READY
    device.release()
