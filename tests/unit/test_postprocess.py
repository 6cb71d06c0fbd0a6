"""zramfs.core.postprocess: what is recompressed, in which order, and what is left."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.pages import make_page
from tests.unit.passes import fill, flags, marks, opened, request, run
from tests.unit.requests import discard, write_page
from tests.verify import used_slots, verify
from zramfs.core import slots
from zramfs.core.codecs import ALGORITHMS, Codec, Page, Stored, open_codec
from zramfs.core.device import Device
from zramfs.core.postprocess import recompress
from zramfs.core.steps import Steps, Work
from zramfs.errors import CorruptPage, InvalidValue
from zramfs.units import PAGE_SIZE, PageIndex

# Scenario 52 in small. What zstd makes of it: 62 bytes get 54, and 128 get 120: smaller
# classes. 2082 get 2075: the same class. Noise stays.
KINDS = ("text", "half", "rand", "same:5", "part:100", "zero")


@pytest.fixture
def device(bare: Device) -> Device:
    """A device of lz4 and zstd with a page of each kind."""
    opened(bare, "lz4", "zstd")
    fill(bare, *KINDS)
    return bare


def intact(device: Device) -> bool:
    """Whether all pages are what they were."""
    return device.read(0, len(KINDS) * PAGE_SIZE) == b"".join(
        make_page(kind, index) for index, kind in enumerate(KINDS)
    )


def watched(codec: Codec, seen: list[bytes]) -> Codec:
    """Return a codec that notes the pages it is given, one at a time."""

    def compress(page: Page) -> Stored:
        seen.append(bytes(page))
        return codec.compress(page)

    return Codec(name=codec.name, compress=compress, decompress=codec.decompress)


def test_what_gets_smaller_is_exchanged_and_the_rest_is_incompressible(
    device: Device,
) -> None:
    run(device.recompress(request()))

    assert marks(device) == "r n hn s r s"
    assert device.store.compr_data_size == 54 + 2082 + PAGE_SIZE + 120
    assert intact(device)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_can_be_secondary(bare: Device, name: str) -> None:
    opened(bare, "lz4", name)
    fill(bare, *KINDS)
    sizes = [slot.size for slot in used_slots(bare.store)]

    run(bare.recompress(request()))

    after = [slot.size for slot in used_slots(bare.store)]
    assert all(new <= old for new, old in zip(after, sizes, strict=True))
    assert intact(bare)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (slots.HUGE, "i i hn s i s"),
        (slots.IDLE, "r n hn s r s"),
        (slots.HUGE | slots.IDLE, "i i hn s i s"),
        (0, "r n hn s r s"),
    ],
)
def test_a_type_chooses_by_flags_and_what_was_tried_is_not_idle(
    device: Device, mode: int, expected: str
) -> None:
    run(device.mark_idle(None))

    run(device.recompress(request(mode=mode)))

    assert marks(device) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (slots.HUGE, "- - hn s - s"),
        (slots.IDLE, "- - h s - s"),
        (slots.HUGE | slots.IDLE, "- - h s - s"),
    ],
)
def test_what_is_not_idle_is_passed_over(
    device: Device, mode: int, expected: str
) -> None:
    run(device.recompress(request(mode=mode)))

    assert marks(device) == expected


def test_the_largest_is_first_and_of_equal_ones_the_last(bare: Device) -> None:
    opened(bare, "lz4", "zstd")
    kinds = ("text", "part:1000", "rand", "text", "part:1020", "half", "rand")
    fill(bare, *kinds)
    seen: list[bytes] = []

    run(recompress(bare.store, watched(open_codec("zstd"), seen), request()))

    # part:1000 has 1032 bytes, part:1020 has 1052: one bucket of 64.
    order = [6, 2, 5, 4, 1, 3, 0]
    assert seen == [make_page(kinds[index], index) for index in order]


def test_the_largest_is_first_over_all_steps_of_the_scan(
    bare: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zramfs.core.table._SCAN_SLOTS", 2)
    opened(bare, "lz4", "zstd")
    fill(bare, "text", "text", "rand", "text", "text", "rand")
    seen: list[bytes] = []

    run(recompress(bare.store, watched(open_codec("zstd"), seen), request()))

    assert [make_page("rand", 5), make_page("rand", 2)] == seen[:2]
    assert [make_page("text", index) for index in (4, 3, 1, 0)] == seen[2:]


@pytest.mark.parametrize("max_pages", range(5))
def test_max_pages_counts_attempts(device: Device, max_pages: int) -> None:
    run(device.recompress(request(max_pages=max_pages)))

    done = ["- - h s - s", "- - hn s - s", "- n hn s - s", "- n hn s r s"]
    assert marks(device) == [*done, "r n hn s r s"][max_pages]


@pytest.mark.parametrize("name", ["zstd", "deflate"])
def test_max_pages_is_kept_over_batches(bare: Device, name: str) -> None:
    opened(bare, "lz4", name, nr_slots=600)
    for index in range(600):
        write_page(bare, index, "text")

    run(bare.recompress(request(max_pages=300)))

    tried = [letters != "-" for letters in marks(bare).split()]
    assert tried == [False] * 300 + [True] * 300


def test_smaller_pages_than_the_threshold_are_skipped_and_not_counted(
    bare: Device,
) -> None:
    opened(bare, "lz4", "zstd")
    fill(bare, "part:110", "part:100")  # 138 and 128 bytes, so the second is first
    run(bare.mark_idle(None))

    run(bare.recompress(request(threshold=129, max_pages=1)))

    assert marks(bare) == "n i"


def test_what_gets_smaller_but_not_below_the_threshold_stays(device: Device) -> None:
    run(device.recompress(request(threshold=120)))
    assert marks(device) == "- n hn s n s"
    fill(device, *KINDS)

    run(device.recompress(request(threshold=121)))

    assert marks(device) == "- n hn s r s"


def test_only_the_last_algorithm_says_that_a_page_is_incompressible(
    bare: Device,
) -> None:
    opened(bare, "lz4", "zstd", "deflate")
    fill(bare, *KINDS)

    run(bare.recompress(request(priority=1, is_last=False)))
    assert marks(bare) == "r - h s r s"

    run(bare.recompress(request(priority=2)))
    # deflate does not improve on zstd; it is the last, and says so.
    assert marks(bare) == "rn n hn s rn s"


def test_a_page_is_not_tried_again(device: Device) -> None:
    run(device.recompress(request()))
    run(device.mark_idle(None))
    seen: list[bytes] = []

    run(recompress(device.store, watched(open_codec("zstd"), seen), request()))

    assert seen == []
    assert marks(device) == "ir in hin s ir s"


def test_going_down_in_priority_does_nothing(bare: Device) -> None:
    opened(bare, "lz4", "deflate", "zstd")
    fill(bare, "text")
    run(bare.recompress(request(priority=2)))

    run(bare.recompress(request(priority=1, is_last=False)))

    assert used_slots(bare.store)[0].priority == 2


def test_a_written_back_page_is_passed_over(device: Device) -> None:
    words = device.store.table.words
    resident = words[0]
    words[0] |= slots.WB

    run(device.recompress(request()))

    assert words[0] == resident | slots.WB
    words[0] = resident


def test_a_recompressed_page_looks_untouched_since_boot(device: Device) -> None:
    device.tick(9)
    fill(device, *KINDS)

    run(device.recompress(request()))

    assert device.store.table.ac_time[: len(KINDS)].tolist() == [0, 9, 9, 9, 0, 9]


def test_overwriting_takes_the_marks_off(device: Device) -> None:
    run(device.recompress(request()))

    fill(device, *KINDS)

    assert marks(device) == "- - h s - s"


def test_a_huge_page_that_gets_smaller_is_none_any_more(bare: Device) -> None:
    opened(bare, "lz4", "zstd")
    fill(bare, "part:3588")
    assert flags(bare) == {0: "..h..."}

    run(bare.recompress(request(mode=slots.HUGE)))

    assert flags(bare) == {0: "....r."}
    stat = bare.mm_stat()
    assert (stat.huge_pages, stat.huge_pages_since) == (0, 1)


def half_idle(device: Device, nr_slots: int) -> None:
    """Fill *device* with pages of which zstd makes less; every second one is idle."""
    opened(device, "lz4", "zstd", nr_slots=nr_slots)
    for index in range(nr_slots):
        write_page(device, index, "part:220")
    run(device.mark_idle(None))
    for index in range(1, nr_slots, 2):
        device.read(index * PAGE_SIZE, PAGE_SIZE)


def test_mem_used_max_is_not_raised(
    bare: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zramfs.core.postprocess._WASTE_SHIFT", 0)  # never
    half_idle(bare, 200)
    before = bare.mm_stat()

    run(bare.recompress(request(mode=slots.IDLE)))

    after = bare.mm_stat()
    assert after.mem_used_total > before.mem_used_max == after.mem_used_max


def test_a_pass_compacts_when_a_quarter_is_waste(bare: Device) -> None:
    half_idle(bare, 600)

    run(bare.recompress(request(mode=slots.IDLE)))

    assert bare.counters.pages_compacted > 0
    assert bare.store.waste <= bare.mm_stat().mem_used_total // 4


everything = request()


class Pass(NamedTuple):
    """A pass whose compression is under way."""

    device: Device
    steps: Steps
    work: Work


@pytest.fixture(params=["zstd", "deflate"])
def begun(bare: Device, request: pytest.FixtureRequest) -> Pass:
    """A pass that has peeked at its pages and not stored anything yet."""
    opened(bare, "lz4", request.param)
    fill(bare, *KINDS)
    run(bare.mark_idle(None))
    steps = bare.recompress(everything)
    next(steps)  # the scan
    next(steps)  # what is claimed
    work = next(steps)
    assert isinstance(work, Work)
    return Pass(bare, steps, work)


def test_a_pass_chooses_in_its_first_step(device: Device) -> None:
    steps = device.recompress(request())

    assert device.store.table.nr_flagged(slots.PP_SLOT) == 0
    next(steps)
    assert device.store.table.nr_flagged(slots.PP_SLOT) == 4
    verify(device, in_pass=True)
    run(steps)


def test_a_page_that_was_accessed_after_the_scan_is_left_alone(
    device: Device,
) -> None:
    steps = device.recompress(request())
    next(steps)
    device.read(0, PAGE_SIZE)
    write_page(device, 1, "text")
    discard(device, 2, 1)
    device.write(4 * PAGE_SIZE, memoryview(bytes(PAGE_SIZE)))

    run(steps)

    assert flags(device) == {
        0: "......",
        1: "......",
        3: "s.....",
        4: "s.....",
        5: "s.....",
    }


@pytest.mark.parametrize("index", [0, 1, 2, 4])
@pytest.mark.parametrize("kind", ["half", "rand", "same:9", "zero"])
def test_a_page_that_is_written_while_it_is_compressed_stays_as_written(
    begun: Pass, index: int, kind: str
) -> None:
    write_page(begun.device, index, kind)
    expected = flags(begun.device)[index]

    begun.work.run()
    run(begun.steps)

    assert flags(begun.device)[index] == expected
    assert begun.device.read(index * PAGE_SIZE, PAGE_SIZE) == make_page(kind, index)


def test_a_page_that_is_read_while_it_is_compressed_stays(begun: Pass) -> None:
    begun.device.read(0, PAGE_SIZE)

    begun.work.run()
    run(begun.steps)

    assert flags(begun.device)[0] == "......"


def test_a_page_that_is_discarded_while_it_is_compressed_stays_away(
    begun: Pass,
) -> None:
    discard(begun.device, 0, len(KINDS))

    begun.work.run()
    run(begun.steps)

    assert flags(begun.device) == {}
    assert begun.device.mm_stat().mem_used_total == 0


def test_compaction_while_a_page_is_compressed_does_no_harm(begun: Pass) -> None:
    discard(begun.device, 4, 1)
    begun.work.run()

    run(begun.device.compact())
    run(begun.steps)

    assert begun.device.read(0, 4 * PAGE_SIZE) == b"".join(
        make_page(kind, index) for index, kind in enumerate(KINDS[:4])
    )


def test_a_pass_that_ends_early_leaves_nothing_marked(begun: Pass) -> None:
    before = [slot.word & ~slots.PP_SLOT for slot in used_slots(begun.device.store)]

    _close(begun.steps)

    assert [slot.word for slot in used_slots(begun.device.store)] == before
    verify(begun.device)
    assert intact(begun.device)


def _close(steps: Steps) -> None:
    close: Callable[[], None] = steps.close  # type: ignore[attr-defined]  # a generator
    close()


def test_a_pass_that_ends_after_its_scan_leaves_nothing_marked(device: Device) -> None:
    before = used_slots(device.store)
    steps = device.recompress(request())
    next(steps)

    _close(steps)

    assert used_slots(device.store) == before


@pytest.mark.parametrize("name", ["zstd", "deflate"])
def test_a_corrupt_page_ends_the_pass_and_nothing_stays_marked(
    bare: Device, name: str
) -> None:
    opened(bare, "lz4", name)
    fill(bare, *KINDS)
    slot = used_slots(bare.store)[0]
    good = bytes(bare.store._pool.read(*slot.place, slot.size))
    bare.store._pool.write(*slot.place, b"\xff" * slot.size)

    with pytest.raises(CorruptPage, match=r"^page 0: lz4"):
        run(bare.recompress(request()))

    verify(bare)
    assert used_slots(bare.store)[0].word == slot.word
    bare.store._pool.write(*slot.place, good)
    assert intact(bare)


def test_nothing_to_do_is_done_at_once(bare: Device) -> None:
    opened(bare, "lz4", "zstd")

    assert list(bare.recompress(request())) == []


def test_a_batch_of_which_nothing_is_left_is_no_trouble(device: Device) -> None:
    steps = device.recompress(request())
    next(steps)
    for index in range(len(KINDS)):
        device.store.read(PageIndex(index))

    run(steps)

    assert marks(device) == "- - h s - s"


@pytest.mark.parametrize("priority", [1, 2, 3])
def test_an_algorithm_that_is_not_configured_is_refused(
    bare: Device, priority: int
) -> None:
    opened(bare, "lz4")

    with pytest.raises(InvalidValue, match=f"no algorithm has priority {priority}"):
        bare.recompress(request(priority=priority))


def test_the_next_write_sees_what_a_pass_has_used(
    bare: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zramfs.core.postprocess._WASTE_SHIFT", 0)  # never
    half_idle(bare, 200)
    run(bare.recompress(request(mode=slots.IDLE)))

    write_page(bare, 0, "part:220")

    after = bare.mm_stat()
    assert after.mem_used_max == after.mem_used_total
