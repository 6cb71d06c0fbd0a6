"""The machines find the bugs that are planted."""

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.property import bugs, spill_bugs
from tests.property.combination import CombinedOne
from tests.property.machines import (
    Claims,
    Classes,
    Killed,
    Machine,
    OneSlot,
    ReadingBackOne,
    RecompressingOne,
    Requests,
    TwoSlots,
    WritingBack,
    WritingBackOne,
)
from tests.property.model import WatchedPool
from zramfs.core.blocks import Blocks
from zramfs.core.claims import Claims as ClaimsOfAStore
from zramfs.core.compaction import Compaction
from zramfs.core.pool import Pool
from zramfs.core.reader import Reader
from zramfs.core.store import Store
from zramfs.core.table import SlotTable
from zramfs.core.writeback import Writeback
from zramfs.core.writer import Writer

# How long a search takes is a matter of its examples and of what else is running.
pytestmark = pytest.mark.timeout(120)

ONE_SLOT = [
    bugs.PublishesBeforeWriting,
    bugs.FreesBeforePublishing,
    bugs.ForgetsToFree,
    bugs.KeepsTheFillWordUnderZeros,
    bugs.KeepsTheFillWord,
    bugs.ComparesTheEndsOnly,
    bugs.KeepsOneTooMany,
    bugs.ReleasesOneTooMany,
    bugs.KeepsTheMemory,
    bugs.TrustsTheFreeList,
    bugs.CountsSamePagesUpOnly,
    bugs.CountsHugePagesUpOnly,
    bugs.CountsBytesUpOnly,
    bugs.CountsPagesUpOnly,
    bugs.LimitsSameFilledPages,
    bugs.LosesThePageAtTheLimit,
    bugs.RefusesTheLastPage,
    bugs.ForgetsTheAccessTime,
]
TWO_SLOTS = [
    bugs.ListsHolesTwice,
    bugs.ListsNoHoles,
    bugs.ForgetsToCount,
]
CLASSES = [
    bugs.OutgrowsItsSegment,
    bugs.MovesWithoutLookingAgain,
    bugs.MovesBeforeCopying,
]
RECOMPRESSING = [
    bugs.HoldsWhateverHappened,
    bugs.ExchangesWithoutCounting,
    bugs.ExchangesForThePrimary,
    bugs.KeepsTheIdleMark,
    bugs.KeepsTheTime,
    bugs.PeeksByReading,
    bugs.ChoosesForEver,
    bugs.CallsEveryFailureTheLast,
]
KILLED = [
    bugs.RecoversNoMarks,
    bugs.RecoversNoHoles,
    bugs.RecoversTheTailOnly,
    bugs.RecoversWithoutCounting,
]
CLAIMS = [
    bugs.HoldsWhateverHappened,
    bugs.KeepsAClaimAsAFlag,
    bugs.ReleasesAnyClaim,
    bugs.KeepsLostClaims,
]
REQUESTS = [
    bugs.ReadsRunsUnseen,
    bugs.MarksOnlyTheFirst,
    bugs.TakesTheFirstFill,
    bugs.LeaksWhatWasThere,
    bugs.CountsSamePagesOn,
]

WRITING_BACK = [
    spill_bugs.KeepsARunAsAFlag,
    spill_bugs.TakesWhateverHappened,
    spill_bugs.DropsWhatItLost,
    spill_bugs.ClaimsForEver,
    spill_bugs.ChargesForFailures,
    spill_bugs.ChargesTwice,
    spill_bugs.CountsWhatCounts,
    spill_bugs.KeepsWhatFailed,
]
READING_BACK = [
    spill_bugs.ReusesPinnedBlocks,
    spill_bugs.LosesPinnedBlocks,
    spill_bugs.ForgetsTheSeal,
    spill_bugs.LeaksBlocks,
    spill_bugs.LeaksObjects,
    spill_bugs.ReadsWithoutPinning,
    spill_bugs.TakesHugeForResident,
    spill_bugs.MarksBeforeItLooks,
    spill_bugs.PublishesBeforeTheSeal,
]
COMBINED = [
    bugs.HoldsWhateverHappened,
    spill_bugs.KeepsARunAsAFlag,
    spill_bugs.TakesFromARecompression,
    spill_bugs.ForgetsItIsIncompressible,
    spill_bugs.RecoversWhatWasChosen,
    spill_bugs.ReusesPinnedBlocks,
]

BUGS = [
    *((bug, OneSlot) for bug in ONE_SLOT),
    *((bug, TwoSlots) for bug in TWO_SLOTS),
    *((bug, Classes) for bug in CLASSES),
    *((bug, RecompressingOne) for bug in RECOMPRESSING),
    *((bug, Killed) for bug in KILLED),
    *((bug, Claims) for bug in CLAIMS),
    *((bug, Requests) for bug in REQUESTS),
    *((bug, WritingBackOne) for bug in WRITING_BACK),
    *((bug, ReadingBackOne) for bug in READING_BACK),
    *((bug, CombinedOne) for bug in COMBINED),
    (spill_bugs.GoesBeyondTheLimit, WritingBack),
]

# Where a class is taken from; a bug goes there in its place.
PLACES: dict[type, str] = {
    Store: "zramfs.core.device.Store",
    Pool: "zramfs.core.store.Pool",
    Compaction: "zramfs.core.store.Compaction",
    Blocks: "zramfs.core.store.Blocks",
    SlotTable: "zramfs.core.store.SlotTable",
    Writeback: "zramfs.core.device.Writeback",
    ClaimsOfAStore: "zramfs.core.store.Claims",
    Reader: "zramfs.core.store.Reader",
    Writer: "zramfs.core.store.Writer",
}

# Always the same examples, and no time spent on making the failing one small.
SETTINGS = settings(
    derandomize=True,
    max_examples=500,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


def expect_failure(machine: type[Machine]) -> None:
    """Run *machine*, which must not take what is planted for right."""
    with pytest.raises(Exception, match=r".|^$") as caught:
        run_state_machine_as_test(machine, settings=SETTINGS)

    notes = "\n".join(getattr(caught.value, "__notes__", []))
    assert f"state = {machine.__name__}()" in notes


@pytest.mark.parametrize(("bug", "machine"), BUGS)
def test_a_machine_finds_what_is_wrong(
    bug: type,
    machine: type[Machine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zramfs.core.compaction._MOVES", 1)
    monkeypatch.setattr("zramfs.core.postprocess._BATCH", 1)
    monkeypatch.setattr("zramfs.core.postprocess._BATCH_MANY", 1)
    monkeypatch.setattr("zramfs.core.ranges.MANY", 1)
    monkeypatch.setattr("zramfs.core.store.MANY", 1)
    monkeypatch.setattr("zramfs.core.store.Pool", WatchedPool)
    monkeypatch.setattr(PLACES[bug.__mro__[-2]], bug)

    expect_failure(machine)


@pytest.mark.parametrize("threshold", [3624, 3626])
def test_a_machine_finds_a_huge_threshold_that_is_one_off(
    threshold: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zramfs.core.store.HUGE_CLASS_SIZE", threshold)

    expect_failure(OneSlot)
