"""Crash points find what is written in the wrong order."""

import pytest

from tests.crash.test_points import (
    SPILLED,
    Operation,
    backed,
    in_turn,
    put,
    ready,
    store,
    sweep,
)
from tests.property import bugs
from zramfs.core.device import Device
from zramfs.core.lifecycle import Event
from zramfs.core.pool import Pool
from zramfs.core.steps import Run
from zramfs.core.store import Store
from zramfs.core.writeback import Writeback
from zramfs.units import PageIndex


class ForgetsWhatGoes(Pool):
    """A page that is let go of is found by nobody afterwards."""

    def let_go(self, index: int) -> None:
        pass


class EmptiesTheSlotFirst(Store):
    """The access time goes after the page."""

    def free(self, index: PageIndex) -> None:
        time = self._ac_time[index]
        super().free(index)
        self._ac_time[index] = time
        self.table.next_hole(0)  # something else happens
        self._ac_time[index] = 0


class CopiesAfterwards(Pool):
    """A slot points to where its object is to be moved."""

    late: tuple[int, bytes] = (0, b"")

    def relocate(self, klass: int, index: int) -> int | None:
        target = super().relocate(klass, index)
        if target is not None:
            length = klass << 4
            self.late = target, bytes(self.read(klass, target, length))
            self.write(klass, target, bytes(length))
        return target

    def vacate(self, klass: int, index: int) -> None:
        self.write(klass, *self.late)
        super().vacate(klass, index)


class SealsAfterwards(Writeback):
    """A slot points to a block whose seal is another's."""

    def commit(self, run: Run, start: int, stop: int, seals: bytes) -> None:
        blocks = self._store.blocks
        first = run.blocks[start]
        super().commit(run, start, stop, bytes(len(seals)))
        blocks.set_seals(first, seals)


class ForgetsWithoutClaiming(Device):
    """A reset begins without saying so."""

    def _advance(self, event: Event) -> None:
        if event is not Event.CLAIM:
            super()._advance(event)
            return
        self._header.state = 0
        self._header.mem_limit = 1 << 40
        self.tick(1)  # something else happens
        self._header.state = 2


HOLES = in_turn(*(put(index, "none") for index in (0, 1, 4)))
THINNED = in_turn(ready("text", "half", "rand", "text", "text", "text", "text"), HOLES)


def dated(device: Device) -> None:
    device.tick(100)
    ready("text")(device)


ORDERS = (
    ("device.Store", bugs.PublishesBeforeWriting, ready("rand"), put(0, "text")),
    ("device.Store", bugs.FreesBeforePublishing, ready("rand"), put(0, "text")),
    ("device.Store", EmptiesTheSlotFirst, dated, put(0, "none")),
    ("store.Pool", CopiesAfterwards, THINNED, store("compact", "1")),
    ("store.Pool", ForgetsWhatGoes, ready(*["rand"] * 3), put(1, "text")),
    ("device.Writeback", SealsAfterwards, backed(*SPILLED), store("writeback", "huge")),
)


@pytest.mark.parametrize(
    ("name", "bug", "prepare", "operation"),
    ORDERS,
    ids=[bug.__name__ for _, bug, _, _ in ORDERS],
)
def test_a_wrong_order_is_found(
    name: str,
    bug: type,
    prepare: Operation,
    operation: Operation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"zramfs.core.{name}", bug)

    with pytest.raises(Exception, match=r".|^$") as caught:
        sweep(prepare, operation)

    notes = getattr(caught.value, "__notes__", [])
    assert any("a crash in" in note for note in notes)


def test_a_reset_that_is_not_announced_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.verify.Device", ForgetsWithoutClaiming)

    with pytest.raises(AssertionError) as caught:
        sweep(ready("text"), store("reset", "1"))

    assert any("a crash in" in note for note in caught.value.__notes__)
