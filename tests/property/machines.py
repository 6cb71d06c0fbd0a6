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

from tests.property.model import KINDS, Model
from zramfs.core.codecs import ALGORITHMS
from zramfs.units import PAGE_SIZE

kinds = st.sampled_from(sorted(KINDS))
# lz4 often: the pages at the huge threshold are made for it.
algorithms = st.sampled_from(["lz4", "lz4", "lz4", *ALGORITHMS])


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
