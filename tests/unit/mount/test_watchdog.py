"""zramfs.mount.watchdog: major faults are counted, and told of once in a while."""

import pytest
import trio
from trio.testing import MockClock

from zramfs.mount.upkeep import watch_faults
from zramfs.mount.watchdog import FaultWatch

TOLD = "the worker waited for a disk: 2 major faults while serving"


class Faults:
    """A process that has so many."""

    def __init__(self) -> None:
        self.count = 100

    def __call__(self) -> int:
        return self.count


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def watch(faults: Faults) -> FaultWatch:
    return FaultWatch(faults)


def test_what_starting_took_is_not_counted(watch: FaultWatch, faults: Faults) -> None:
    faults.count += 20
    watch.begin()

    assert watch.nr_faults == 0
    assert watch.measure().refusal is None


def test_a_fault_is_counted_and_warned_of(
    watch: FaultWatch,
    faults: Faults,
    announced: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    announced.append(TOLD)
    faults.count += 2

    watch.look(1.0)

    assert len(caplog.messages) == 1
    assert watch.measure().refusal == "2 while serving"


def test_nothing_is_said_of_none(
    watch: FaultWatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch.look(1.0)

    assert caplog.messages == []


def test_more_of_them_are_counted_in_silence_for_ten_minutes(
    watch: FaultWatch,
    faults: Faults,
    announced: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    announced += ["1 major faults", "4 major faults"]
    for now in (1.0, 2.0, 600.0, 601.0):
        faults.count += 1
        watch.look(now)

    assert len(caplog.messages) == 2
    assert watch.nr_faults == 4


def test_what_came_in_silence_alone_is_not_told_later(
    watch: FaultWatch,
    faults: Faults,
    announced: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    announced.append("1 major faults")
    faults.count += 1
    watch.look(1.0)
    watch.look(1000.0)

    assert len(caplog.messages) == 1


def test_it_looks_once_a_second(
    watch: FaultWatch,
    faults: Faults,
    announced: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_faults, watch)
            await trio.sleep(0.5)
            faults.count += 2
            assert caplog.messages == []
            await trio.sleep(0.6)
            nursery.cancel_scope.cancel()

    announced.append(TOLD)
    trio.run(main, clock=MockClock(autojump_threshold=0))

    assert len(caplog.messages) == 1


def test_this_process_has_a_count() -> None:
    assert FaultWatch().nr_faults >= 0
