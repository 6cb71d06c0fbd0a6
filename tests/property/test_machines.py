"""The machines, run on the device as it is."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.property.combination import Combined, CombinedOne
from tests.property.machines import (
    Claims,
    Classes,
    Killed,
    Machine,
    ManySlots,
    OneSlot,
    ReadingBack,
    ReadingBackOne,
    Recompressing,
    RecompressingOne,
    Requests,
    TwoSlots,
    WritingBack,
    WritingBackOne,
)
from tests.property.model import WatchedPool

# How long a search takes is a matter of its examples and of what else is running.
pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("machine", [OneSlot, TwoSlots, Classes, Killed])
def test_a_slot_keeps_its_page_whatever_happens(
    machine: type[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zramfs.core.compaction._MOVES", 1)
    monkeypatch.setattr("zramfs.core.store.Pool", WatchedPool)

    run_state_machine_as_test(machine)


@pytest.mark.parametrize("machine", [Recompressing, RecompressingOne, Claims])
def test_recompression_harms_nobody_who_comes_in_between(
    machine: type[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zramfs.core.postprocess._BATCH", 1)
    monkeypatch.setattr("zramfs.core.postprocess._BATCH_MANY", 1)
    monkeypatch.setattr("zramfs.core.store.Pool", WatchedPool)

    run_state_machine_as_test(machine)


def test_the_pages_of_a_request_are_kept_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zramfs.core.ranges.MANY", 1)
    monkeypatch.setattr("zramfs.core.store.MANY", 1)
    monkeypatch.setattr("zramfs.core.compaction._MOVES", 1)
    monkeypatch.setattr("zramfs.core.store.Pool", WatchedPool)

    run_state_machine_as_test(Requests)


@pytest.mark.parametrize(
    "machine",
    [WritingBack, WritingBackOne, ReadingBack, ReadingBackOne],
)
def test_writeback_harms_nobody_who_comes_in_between(
    machine: type[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zramfs.core.reader.MANY", 1)
    monkeypatch.setattr("zramfs.core.store.Pool", WatchedPool)

    run_state_machine_as_test(machine, settings=settings(max_examples=25))


@pytest.mark.parametrize("machine", [Combined, CombinedOne])
def test_no_page_is_lost_where_everything_meets(
    machine: type[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zramfs.core.postprocess._BATCH", 1)
    monkeypatch.setattr("zramfs.core.postprocess._BATCH_MANY", 1)
    monkeypatch.setattr("zramfs.core.reader.MANY", 1)
    monkeypatch.setattr("zramfs.core.store.Pool", WatchedPool)

    run_state_machine_as_test(machine, settings=settings(max_examples=100))


def test_many_pages_are_kept_while_the_pool_is_compacted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zramfs.core.compaction._MOVES", 1)

    run_state_machine_as_test(ManySlots, settings=settings(max_examples=30))
