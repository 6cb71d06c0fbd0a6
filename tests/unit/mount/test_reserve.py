"""zramfs.mount.reserve: memory held back, given back, and taken again."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from zramfs.mount.cgroups import MemoryGroup
from zramfs.mount.reserve import (
    FLOOR,
    LOW,
    RESERVE_BYTES,
    Reserve,
    SystemMemory,
)
from zramfs.mount.upkeep import keep_reserve

GIB = 1 << 30
ENOUGH = LOW + RESERVE_BYTES


class System:
    """A system that has so much memory left."""

    def __init__(self, available: int) -> None:
        self.left = available

    def available(self) -> int:
        return self.left


@pytest.fixture
def system() -> System:
    return System(4 * GIB)


@pytest.fixture
def reserve(system: System) -> Iterator[Reserve]:
    reserve = Reserve(system.available)
    yield reserve
    reserve.release()


def anonymous_bytes() -> int:
    rows = Path("/proc/self/status").read_text().splitlines()
    [value] = [row.split()[1] for row in rows if row.startswith("RssAnon:")]
    return int(value) << 10


def test_the_reserve_is_in_memory(reserve: Reserve) -> None:
    held = anonymous_bytes()
    reserve.release()

    assert held - anonymous_bytes() >= RESERVE_BYTES // 2


@pytest.mark.parametrize(
    ("available", "is_held"), [(ENOUGH, True), (ENOUGH - 1, False)]
)
def test_it_is_taken_only_where_there_is_some_to_spare(
    available: int, *, is_held: bool
) -> None:
    reserve = Reserve(lambda: available)

    assert reserve.is_held == is_held
    reserve.release()


@pytest.mark.parametrize(("available", "most"), [(4 * GIB, 5096), (LOW, 1064)])
def test_a_pool_may_grow_by_less_the_less_there_is(
    reserve: Reserve, system: System, available: int, most: int
) -> None:
    system.left = available

    assert reserve.admit(1000) == most
    assert reserve.is_held


def test_with_little_left_it_is_given_back_and_the_pool_grows(
    reserve: Reserve, system: System
) -> None:
    system.left = 0

    assert reserve.admit(1000) == 1064
    assert not reserve.is_held


def test_with_nothing_left_the_pool_may_not_grow(
    reserve: Reserve, system: System
) -> None:
    system.left = FLOOR - 1

    assert [reserve.admit(1000), reserve.admit(1000)] == [1064, 0]
    assert reserve.nr_refused == 1


def test_with_the_floor_left_the_pool_grows(reserve: Reserve, system: System) -> None:
    system.left = FLOOR
    reserve.release()

    assert reserve.admit(1000) == 1064


def test_it_is_taken_again_when_memory_is_back(
    reserve: Reserve, system: System
) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_reserve, reserve)
            await trio.sleep(1.5)
            assert not reserve.is_held
            system.left = ENOUGH
            await trio.sleep(1)
            nursery.cancel_scope.cancel()

    system.left = 0
    reserve.admit(1)
    trio.run(main, clock=MockClock(autojump_threshold=0))

    assert reserve.is_held


def test_its_measure_says_what_is_held(reserve: Reserve) -> None:
    assert str(reserve.measure()) == (
        "reserve: ok (8.0M held, 4.0G available, 0 refused)"
    )


def test_its_measure_says_what_failed(reserve: Reserve, system: System) -> None:
    system.left = 0
    reserve.admit(1)
    reserve.admit(1)

    assert str(reserve.measure()).startswith(
        "reserve: refused (given back, 0B available): 1 times the pool could not grow"
    )


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "min_free_kbytes").write_text("1000\n")
    say(tmp_path, free=5000, available=3000)
    return tmp_path


def say(files: Path, *, free: int, available: int) -> None:
    (files / "meminfo").write_text(
        f"MemTotal:  9 kB\nMemFree:   {free} kB\nMemAvailable: {available} kB\n"
    )


def left(files: Path, *groups: MemoryGroup) -> int:
    memory = SystemMemory(
        files / "meminfo", files / "min_free_kbytes", lambda: [*groups]
    )
    try:
        return memory.available()
    finally:
        memory.close()


@pytest.mark.parametrize(
    ("free", "available", "kilobytes"),
    [(5000, 3000, 4000), (2000, 9000, 9000), (900, 0, 0)],
    ids=["free", "cache", "nothing"],
)
def test_memory_is_left_that_is_free_or_can_be_freed(
    files: Path, free: int, available: int, kilobytes: int
) -> None:
    say(files, free=free, available=available)

    assert left(files) == kilobytes << 10


@pytest.mark.parametrize(("limit", "bytes_left"), [("5000", 4000), ("max", 4000 << 10)])
def test_a_group_may_leave_less(files: Path, limit: str, bytes_left: int) -> None:
    (files / "memory.max").write_text(f"{limit}\n")
    (files / "memory.current").write_text("1000\n")

    assert left(files, MemoryGroup(path=files, version=2)) == bytes_left


def test_it_is_looked_at_anew_each_time(files: Path) -> None:
    memory = SystemMemory(files / "meminfo", files / "min_free_kbytes", list)
    say(files, free=1001, available=0)

    assert memory.available() == 1 << 10
    memory.close()


def test_a_limit_that_comes_later_is_noticed(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[MemoryGroup] = []
    memory = SystemMemory(files / "meminfo", files / "min_free_kbytes", lambda: groups)
    (files / "memory.max").write_text("5000\n")
    before = memory.available()
    groups.append(MemoryGroup(path=files, version=2))
    soon = memory.available()
    later_s = time.monotonic() + 11
    monkeypatch.setattr(time, "monotonic", lambda: later_s)

    assert (before, soon, memory.available()) == (4000 << 10, 4000 << 10, 5000)
    memory.close()


def test_this_machine_has_some() -> None:
    memory = SystemMemory()

    assert memory.available() > 0
    memory.close()
