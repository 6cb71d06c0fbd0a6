"""The machines in which everything meets that may happen to a written-back page.

Passes of both kinds in steps, accesses, resets, deaths, and a backing device that
fails. What a pass that was given up has in flight ends in the middle of the next.
"""

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import rule

from tests.property.machines import (
    Machine,
    ReadingBack,
    Recompressing,
    WritingBack,
    faults,
    requests,
)
from tests.property.spilling import SpillModel
from zramfs.core import slots
from zramfs.core.postprocess import Recompression
from zramfs.errors import DeviceBusy


class Combined(WritingBack, ReadingBack, Recompressing):
    """All that the machines it is made of do, and what they leave out."""

    nr_slots = 2

    @rule(
        mode=st.sampled_from([0, 0, slots.IDLE, slots.INCOMPRESSIBLE]),
        limit=st.sampled_from([None, None, 1]),
        nr_pages=st.sampled_from([0, 1, 2]),
    )
    def begin(
        self, mode: int, limit: int | None, scans: int = 1, nr_pages: int = 0
    ) -> None:
        super().begin(mode, limit, scans, nr_pages)

    @rule(request=requests, count=st.integers(2, 6), fault=faults, after=st.booleans())
    def outlive(
        self, request: Recompression, count: int, fault: str, *, after: bool
    ) -> None:
        """End a run in the middle of the recompression that follows its pass."""
        self.begin(0, None, 1, 1)
        self.spill.give_up()
        self.steps(request, count, idle=bool(request.mode))
        self.land(len(self.spill.flights) - 1, fault)
        if after:
            self.steps(request, 9, idle=False)

    @rule(
        index=Machine.indexes,
        request=requests,
        count=st.integers(2, 6),
        access=st.sampled_from(
            [
                SpillModel.read_page,
                SpillModel.discard_page,
                lambda model, index: model.write_page(index, "noise"),
            ]
        ),
    )
    def interrupt(
        self,
        index: int,
        request: Recompression,
        count: int,
        access: Callable[[SpillModel, int], None],
    ) -> None:
        """Access a page in the middle of its recompression."""
        self.steps(request, count, idle=bool(request.mode))
        access(self.spill, index)
        self.steps(request, 9, idle=False)

    @rule(reaches_blocks=st.booleans())
    def kill(self, *, reaches_blocks: bool) -> None:
        """Kill the process; what it has in flight is written, or is not."""
        if reaches_blocks:
            self.spill.reach_blocks()
        self.spill.kill()

    @rule(compressed=st.booleans(), is_open=st.booleans())
    def reset_device(self, *, compressed: bool, is_open: bool) -> None:
        """Reset when the pass has had its turn, unless the swapfile is open."""
        if is_open:
            self.spill.device.open()
            with pytest.raises(DeviceBusy, match="the swapfile is open"):
                self.spill.device.reset()
            self.spill.device.release()
            return
        self.spill.give_up()
        self.compressed = compressed
        self.reset()

    @rule(
        control=st.sampled_from(
            [
                *(SpillModel.mark_idle, SpillModel.give_up, SpillModel.compact),
                *(SpillModel.finish_writeback, SpillModel.recompress),
            ]
        )
    )
    def control(self, control: Callable[[SpillModel], None]) -> None:
        control(self.spill)


class CombinedOne(Combined):
    """The same page over and over."""

    nr_slots = 1
