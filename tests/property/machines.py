"""The machines: what Hypothesis may do to a model, in any order.

Few slots and few rules each: races between two looks at one slot are found where
there is one slot, and what is wrong with a whole class where it is soon full.
"""

from collections.abc import Callable
from typing import ClassVar

import hypothesis.strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from tests.pages import make_page
from tests.property.model import KINDS, Model
from tests.property.spilling import FAULTS, SpillModel
from tests.verify import Slot
from zramfs.core import slots
from zramfs.core.claims import Claim
from zramfs.core.codecs import ALGORITHMS
from zramfs.core.postprocess import Recompression
from zramfs.units import PAGE_SIZE

kinds = st.sampled_from(sorted(KINDS))
# lz4 often: the pages at the huge threshold are made for it.
algorithms = st.sampled_from(["lz4", "lz4", "lz4", *ALGORITHMS])
faults = st.sampled_from(["works", "works", "works", *FAULTS])


class Machine(RuleBasedStateMachine):
    """What all machines have."""

    nr_slots: ClassVar[int]
    indexes = st.runner().flatmap(lambda self: st.integers(0, self.nr_slots - 1))

    @initialize(algorithm=algorithms)
    def init(self, algorithm: str) -> None:
        self.model = Model(self.nr_slots, algorithm)

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.model.close()

    @invariant()
    def check(self) -> None:
        self.model.check()


class FewSlots(Machine):
    """Everything that can be done to a page."""

    @rule(index=Machine.indexes, kind=kinds)
    def write_page(self, index: int, kind: str) -> None:
        self.model.write_page(index, kind)

    @rule(index=Machine.indexes, kind=kinds)
    def write_page_again(self, index: int, kind: str) -> None:
        self.model.write_page(index, kind)

    @rule(
        index=Machine.indexes,
        start=st.integers(0, PAGE_SIZE - 1),
        length=st.integers(1, 2 * PAGE_SIZE),
        byte=st.sampled_from([b"\0", b"x"]),
    )
    def write_bytes(self, index: int, start: int, length: int, byte: bytes) -> None:
        self.model.write(index * PAGE_SIZE + start, byte * length)

    @rule(
        index=Machine.indexes,
        start=st.integers(0, PAGE_SIZE - 1),
        length=st.integers(1, 2 * PAGE_SIZE),
    )
    def read(self, index: int, start: int, length: int) -> None:
        self.model.read(index * PAGE_SIZE + start, length)

    @rule(index=Machine.indexes, nr_pages=st.integers(1, 2))
    def discard(self, index: int, nr_pages: int) -> None:
        self.model.discard(index, nr_pages)

    @rule()
    def step_compaction(self) -> None:
        self.model.step_compaction()

    @rule(
        control=st.sampled_from(
            [
                Model.kill,
                Model.leave_pass,
                Model.compact,
                Model.mark_idle,
                Model.reset_mem_used_max,
            ]
        )
    )
    def control(self, control: Callable[[Model], None]) -> None:
        control(self.model)

    @rule(nr_pages=st.integers(0, 2))
    def limit(self, nr_pages: int) -> None:
        self.model.limit(nr_pages)

    @rule(algorithm=algorithms)
    def reset(self, algorithm: str) -> None:
        self.model.reset(algorithm)


class OneSlot(FewSlots):
    """Everything happens to the same page."""

    nr_slots = 1


class TwoSlots(FewSlots):
    """An object can be moved to where the other was."""

    nr_slots = 2


class Requests(TwoSlots):
    """A request is for several pages."""

    nr_slots = 3

    @rule(index=Machine.indexes, kinds=st.lists(kinds, min_size=2, max_size=3))
    def write_pages(self, index: int, kinds: list[str]) -> None:
        pages = [make_page(KINDS[kind], at) for at, kind in enumerate(kinds, index)]
        self.model.write(index * PAGE_SIZE, b"".join(pages))

    @rule(
        index=Machine.indexes,
        nr_pages=st.integers(2, 3),
        mark=st.sampled_from([0, slots.NO_WB]),
    )
    def read_pages(self, index: int, nr_pages: int, mark: int) -> None:
        self.model.read(index * PAGE_SIZE, nr_pages * PAGE_SIZE, mark)


requests = st.builds(
    lambda priority, mode, threshold, max_pages: Recompression(
        mode=mode,
        threshold=threshold,
        max_pages=max_pages,
        priority=priority,
        is_last=priority == 2,
    ),
    st.sampled_from([1, 2]),
    st.sampled_from([0, 0, slots.IDLE, slots.HUGE]),
    st.sampled_from([0, 0, 0, 3000]),
    st.sampled_from([None, None, 1]),
)

ALGORITHMS_BY_PRIORITY = ("lz4", "zstd", "deflate")


class Recompressing(Machine):
    """Pages are recompressed step by step, while others come."""

    nr_slots = 2

    @initialize()
    def init(self) -> None:
        self.model = Model(self.nr_slots, *ALGORITHMS_BY_PRIORITY)

    @rule(
        index=Machine.indexes,
        kind=st.sampled_from(["text", "text", "huge", "noise", "zeros"]),
    )
    def write_page(self, index: int, kind: str) -> None:
        self.model.write_page(index, kind)

    @rule(
        index=Machine.indexes,
        access=st.sampled_from([Model.read_page, Model.pin_page, Model.discard_page]),
    )
    def access(self, index: int, access: Callable[[Model, int], None]) -> None:
        access(self.model, index)

    @rule(request=requests)
    def step(self, request: Recompression) -> None:
        self.model.step_recompression(request)

    @rule(
        request=requests,
        count=st.sampled_from([3, 5, 9, 9]),
        idle=st.sampled_from([True, True, False]),
    )
    def steps(self, request: Recompression, count: int, *, idle: bool) -> None:
        if idle:
            self.model.mark_idle()
        self.step(request)
        while count > 1 and self.model.steps:
            count -= 1
            self.step(request)

    @rule(
        control=st.sampled_from(
            [
                *(Model.mark_idle, Model.mark_idle, Model.mark_idle),
                *(Model.leave_pass, Model.compact, Model.kill),
                lambda model: model.reset(*ALGORITHMS_BY_PRIORITY),
            ]
        )
    )
    def control(self, control: Callable[[Model], None]) -> None:
        control(self.model)


class RecompressingOne(Recompressing):
    """The same page over and over."""

    nr_slots = 1


class Claims(Machine):
    """One page is chosen, claimed, accessed, and the oldest claims come back."""

    nr_slots = 1

    @initialize()
    def init(self) -> None:
        self.model = Model(self.nr_slots, *ALGORITHMS_BY_PRIORITY)
        self.model.choosing = True
        self.claims: list[Claim] = []
        self.good: Claim | None = None
        """The claim that nothing has happened to since."""

    @rule(kind=st.sampled_from(["zeros", "text", "noise"]))
    def write_page(self, kind: str) -> None:
        self.model.write_page(0, kind)
        self.good = None

    @rule()
    def read(self) -> None:
        self.model.read_page(0)
        self.good = None

    @rule()
    def claim(self) -> None:
        """Choose the page as a scan does, unless it has no object, and claim it."""
        store = self.model.device.store
        if self.model.found().get(0, Slot(index=0, word=0)).size:
            store._words[0] |= slots.PP_SLOT
            self.model.marks[0] |= slots.PP_SLOT
            self.good = store.claims.claim(0)
            assert self.good
            self.claims.append(self.good)

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        """Finish any claim there ever was, if the store says that it holds."""
        if not self.claims:
            return
        claim = data.draw(st.sampled_from(self.claims))
        store = self.model.device.store
        if not store.claims.holds(claim):
            assert claim is not self.good
            return
        assert claim is self.good
        self.good = None
        store.claims.release(claim, slots.INCOMPRESSIBLE)
        self.model.marks[0] |= slots.INCOMPRESSIBLE
        self.model.access(0)

    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """Release any claim, without asking: nothing comes of it if it is lost."""
        if not self.claims:
            return
        claim = data.draw(st.sampled_from(self.claims))
        self.model.device.store.claims.release(claim)
        if claim is self.good:
            self.good = None
            self.model.access(0)


class Classes(Machine):
    """Classes fill up and thin out while compaction runs."""

    nr_slots = 6
    halves = st.sampled_from([0, 3])

    @rule(first=halves, kind=st.sampled_from(["text", "noise"]))
    def fill(self, first: int, kind: str) -> None:
        for index in range(first, first + 3):
            self.model.write_page(index, kind)

    @rule(first=halves)
    def discard(self, first: int) -> None:
        self.model.discard(first, 3)

    @rule()
    def step_compaction(self) -> None:
        self.model.step_compaction()


class Killed(Classes):
    """Classes, and processes that die in the middle of it."""

    @rule()
    def kill(self) -> None:
        self.model.kill()


class Spilling(Machine):
    """What the machines with a backing device have."""

    @initialize(compressed=st.booleans())
    def init(self, *, compressed: bool) -> None:
        self.compressed = compressed
        self.model = self.spill = SpillModel(self.nr_slots, *ALGORITHMS_BY_PRIORITY)
        self.reset()

    def reset(self) -> None:
        self.spill.device.reset()
        self.spill.device.backing.compressed = self.compressed
        self.spill.begin(*ALGORITHMS_BY_PRIORITY)

    @rule(
        index=Machine.indexes,
        kind=st.sampled_from(["text", "text", "noise", "noise", "zeros"]),
    )
    def write_page(self, index: int, kind: str) -> None:
        self.spill.write_page(index, kind)

    @rule(
        index=Machine.indexes,
        access=st.sampled_from(
            [SpillModel.read_page, SpillModel.pin_page, SpillModel.discard_page]
        ),
    )
    def access(self, index: int, access: Callable[[SpillModel, int], None]) -> None:
        access(self.spill, index)


class WritingBack(Spilling):
    """Pages come and go while they are written back."""

    nr_slots = 2

    @rule(
        mode=st.sampled_from([0, 0, 0, slots.IDLE]),
        limit=st.sampled_from([None, None, 1, 2]),
        scans=st.sampled_from([1, 1, 2]),
        nr_pages=st.sampled_from([0, 1, 1, 2]),
    )
    def begin(self, mode: int, limit: int | None, scans: int, nr_pages: int) -> None:
        self.spill.begin_writeback(mode, limit, scans)
        if nr_pages:
            self.spill.take(nr_pages)

    @rule(nr_pages=st.sampled_from([1, 2]))
    def take(self, nr_pages: int) -> None:
        self.spill.take(nr_pages)

    @rule(kind=st.sampled_from(["text", "noise"]), again=st.booleans())
    def overtake(self, kind: str, *, again: bool) -> None:
        """Change a page that is taken and not written yet, perhaps take it again."""
        self.spill.take(1)
        if self.spill.flights:
            flight, _ = self.spill.flights[-1]
            self.spill.write_page(flight.run.indexes[0], kind)
            if again:
                self.begin(0, None, 1, 1)

    @rule(number=st.integers(0, 2), fault=faults)
    def land(self, number: int, fault: str) -> None:
        if self.spill.flights:
            self.spill.land(number, fault)

    @rule(
        control=st.sampled_from(
            [
                SpillModel.finish_writeback,
                SpillModel.give_up,
                SpillModel.mark_idle,
                SpillModel.mark_idle,
            ]
        )
    )
    def control(self, control: Callable[[SpillModel], None]) -> None:
        control(self.spill)


class WritingBackOne(WritingBack):
    """The same page over and over."""

    nr_slots = 1


class ReadingBack(Spilling):
    """Pages are waited for while others take their place."""

    nr_slots = 2

    @rule(limit=st.sampled_from([None, None, None, 1]))
    def write_back(self, limit: int | None) -> None:
        self.spill.begin_writeback(0, limit)
        self.spill.finish_writeback()

    @rule(
        index=Machine.indexes,
        start=st.sampled_from([0, 7]),
        byte=st.sampled_from([b"a", b"b"]),
        fault=faults,
    )
    def write_part(self, index: int, start: int, byte: bytes, fault: str) -> None:
        self.spill.write(index * PAGE_SIZE + start, byte, fault)

    @rule(index=Machine.indexes, planned=st.booleans())
    def begin_read(self, index: int, *, planned: bool) -> None:
        self.spill.begin_read(index, planned=planned)

    @rule(number=st.integers(0, 2), fault=faults)
    def finish_read(self, number: int, fault: str) -> None:
        if self.spill.readings:
            self.spill.finish_read(number, fault)

    @rule(
        control=st.sampled_from(
            [SpillModel.compact, SpillModel.recompress, SpillModel.kill, None]
        )
    )
    def control(self, control: Callable[[SpillModel], None] | None) -> None:
        if control:
            control(self.spill)
            return
        self.spill.end_all()
        self.reset()


class ReadingBackOne(ReadingBack):
    """The same page over and over."""

    nr_slots = 1


class ManySlots(Machine):
    """Pages of all sizes come and go in the middle of the others."""

    nr_slots = 40

    @rule(first=Machine.indexes, nr_pages=st.integers(1, 40), kind=kinds)
    def fill(self, first: int, nr_pages: int, kind: str) -> None:
        for index in range(first, min(first + nr_pages, self.nr_slots)):
            self.model.write_page(index, kind)

    @rule(step=st.integers(2, 5))
    def thin_out(self, step: int) -> None:
        for index in range(0, self.nr_slots, step):
            self.model.discard(index, 1)

    @rule(first=Machine.indexes, nr_pages=st.integers(1, 40))
    def discard(self, first: int, nr_pages: int) -> None:
        self.model.discard(first, nr_pages)

    @rule()
    def step_compaction(self) -> None:
        self.model.step_compaction()
