"""What one step of a recompression may do to one slot: the law, said again."""

from dataclasses import dataclass

from tests.verify import Slot
from zramfs.core import slots
from zramfs.core.postprocess import Recompression
from zramfs.core.zsmalloc import class_index

_PAYLOAD = (1 << 64) - (1 << slots.PAYLOAD_SHIFT)


def is_eligible(slot: Slot, request: Recompression) -> bool:
    """Whether the scan for *request* must choose the page in *slot*."""
    passed_over = slots.SAME | slots.WB | slots.INCOMPRESSIBLE
    if slot.word & passed_over or slot.word & request.mode != request.mode:
        return False
    return slot.priority < request.priority


@dataclass(frozen=True, slots=True)
class Outcome:
    """A slot before and after a step."""

    before: Slot
    after: Slot
    request: Recompression

    @property
    def changed(self) -> bool:
        """Whether more happened than that the object was moved."""
        return (self.before.word ^ self.after.word) & ~_PAYLOAD != 0

    @property
    def is_success(self) -> bool:
        """Whether the object is by another algorithm now."""
        return self.after.priority != self.before.priority

    def check(self, *, ended: bool) -> None:
        """Assert that this may happen, in the step that *ended* the pass or before."""
        assert self.before.has(slots.PP_SLOT), self
        assert not self.after.has(slots.PP_SLOT), self
        if self.is_success:
            self._check_success()
            return
        failed = slots.INCOMPRESSIBLE if self.request.is_last else 0
        if not self._is(slots.PP_SLOT | slots.IDLE, failed):
            # It was passed over.
            assert self._is(slots.PP_SLOT, 0), self
            skipped = self.before.size < self.request.threshold
            assert skipped or (ended and self.request.max_pages is not None), self

    def _is(self, cleared: int, flags: int) -> bool:
        expected = self.before.word & ~cleared | flags
        return (expected ^ self.after.word) & ~_PAYLOAD == 0

    def _check_success(self) -> None:
        assert self.after.priority == self.request.priority, self
        assert class_index(self.after.size) < class_index(self.before.size), self
        threshold = self.request.threshold
        assert not threshold or self.after.size < threshold <= self.before.size, self
        kept = self.before.word & slots.NO_WB
        flags = self.after.word & ~(_PAYLOAD | slots.PRIORITY_MASK | slots.SIZE_MASK)
        assert flags == kept, self
