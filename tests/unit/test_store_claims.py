"""zramfs.core.store: a claim is lost by any access, and known by its identity."""

from collections.abc import Callable

import pytest

from tests.pages import make_page
from tests.unit.conftest import NR_SLOTS
from tests.unit.passes import claimed, marks, opened, run
from tests.unit.requests import discard
from tests.unit.storing import holds, write
from zramfs.core import slots
from zramfs.core.claims import Claim
from zramfs.core.codecs import open_codec
from zramfs.core.device import Device
from zramfs.units import PAGE_SIZE, PageIndex

FIRST = PageIndex(0)
TEXT = bytes(open_codec("zstd").compress(make_page("text")))

ACCESSES: dict[str, Callable[[Device], object]] = {
    "read": lambda device: device.read(0, PAGE_SIZE),
    "read of a part": lambda device: device.read(9, 9),
    "read that marks": lambda device: device.read(0, PAGE_SIZE, slots.NO_WB),
    "write": lambda device: write(device.store, "half", 0),
    "write of the same": lambda device: write(device.store, "text", 0),
    "write of zeros": lambda device: write(device.store, "zero", 0),
    "write of a fill": lambda device: write(device.store, "same:7", 0),
    "write of noise": lambda device: write(device.store, "rand", 0),
    "free": lambda device: device.store.free(FIRST),
    "discard": lambda device: discard(device, 0, NR_SLOTS),
}


@pytest.fixture
def device(bare: Device) -> Device:
    """A device with a secondary algorithm, and a page of text at 0."""
    opened(bare, "lz4", "zstd")
    write(bare.store, "text", 0)
    return bare


def test_only_a_chosen_page_can_be_claimed(device: Device) -> None:
    store = device.store
    assert store.claims.claim(0) is None
    assert store.claims.claim(1) is None


def test_a_claim_holds_while_nobody_comes(device: Device) -> None:
    store = device.store
    claim = claimed(store, 0)

    assert store.claims.holds(claim)
    assert store.claims.size_of(claim) == 62
    store.claims.end_pass()


@pytest.mark.parametrize("access", ACCESSES.values(), ids=ACCESSES)
def test_any_access_takes_a_claim_away(
    device: Device, access: Callable[[Device], object]
) -> None:
    claim = claimed(device.store, 0)

    access(device)

    assert not device.store.claims.holds(claim)
    assert device.store.claims.claim(0) is None
    assert device.store.claims.held == {}


@pytest.mark.parametrize("access", ACCESSES.values(), ids=ACCESSES)
def test_a_page_that_was_chosen_again_does_not_give_the_old_claim_back(
    device: Device, access: Callable[[Device], object]
) -> None:
    store = device.store
    old = claimed(store, 0)
    access(device)
    write(store, "half", 0)
    new = claimed(store, 0)

    store.claims.release(old, slots.INCOMPRESSIBLE)

    assert not store.claims.holds(old)
    assert store.claims.holds(new)
    assert not store._words[0] & slots.INCOMPRESSIBLE
    store.claims.end_pass()


def test_claims_of_other_pages_stay(device: Device) -> None:
    store = device.store
    write(store, "text", 1)
    claims = [claimed(store, 0), claimed(store, 1)]

    store.read(FIRST)

    assert [store.claims.holds(claim) for claim in claims] == [False, True]
    store.claims.end_pass()


def test_a_peek_is_no_access(device: Device) -> None:
    store = device.store
    claim = claimed(store, 0)
    store.now_s = 9

    assert store.peek(claim) == make_page("text")
    assert store.claims.holds(claim)
    assert store._ac_time[0] == 0
    store.claims.end_pass()


def test_compaction_is_no_access(device: Device) -> None:
    store = device.store
    write(store, "text", 1)
    claim = claimed(store, 1)
    store.free(FIRST)

    run(store.compact())

    assert store.claims.holds(claim)
    assert store._words[1] >> slots.PAYLOAD_SHIFT == 0
    assert store.peek(claim) == make_page("text", 1)
    store.claims.end_pass()


def test_releasing_sets_flags_and_takes_the_idle_mark_off(device: Device) -> None:
    run(device.mark_idle(None))
    device.store.claims.release(claimed(device.store, 0), slots.INCOMPRESSIBLE)

    assert marks(device) == "n"
    assert device.store.claims.held == {}


def test_releasing_may_keep_the_idle_mark(device: Device) -> None:
    run(device.mark_idle(None))
    device.store.claims.release(claimed(device.store, 0), keep_idle=True)

    assert marks(device) == "i"


def test_exchanging_replaces_the_object_and_all_that_was_said_of_it(
    device: Device,
) -> None:
    store = device.store
    device.tick(7)
    device.read(0, PAGE_SIZE, slots.NO_WB)
    run(device.mark_idle(None))

    store.exchange(claimed(store, 0), TEXT, 1)

    assert marks(device) == "r"
    assert store._words[0] & slots.NO_WB
    assert store._ac_time[0] == 0
    assert store.compr_data_size == len(TEXT) == 54
    assert holds(store, "text", 0)


def test_exchanging_a_huge_page_makes_it_small(device: Device) -> None:
    store = device.store
    write(store, "part:3588", 0)
    assert (store.huge_pages, store.compr_data_size) == (1, PAGE_SIZE)
    stored = open_codec("zstd").compress(make_page("part:3588"))

    store.exchange(claimed(store, 0), stored, 1)

    assert (store.huge_pages, store.compr_data_size) == (0, len(stored))
    assert device.counters.huge_pages_since == 1
    assert holds(store, "part:3588", 0)


def test_exchanging_needs_no_room_below_the_limit(device: Device) -> None:
    device.set_mem_limit(PAGE_SIZE)

    device.store.exchange(claimed(device.store, 0), TEXT, 1)

    assert device.mm_stat().mem_used_total == PAGE_SIZE


def test_exchanging_does_not_raise_mem_used_max(device: Device) -> None:
    store = device.store
    discard(device, 0, 1)
    device.reset_mem_used_max()
    write(store, "part:3000", 0, 1)
    stored = open_codec("zstd").compress(make_page("part:3000"))

    store.exchange(claimed(store, 0), stored, 1)

    stat = device.mm_stat()
    assert stat.mem_used_max == 2 * PAGE_SIZE < stat.mem_used_total


def test_a_lost_claim_cannot_be_exchanged(device: Device) -> None:
    claim = claimed(device.store, 0)
    device.read(0, PAGE_SIZE)

    with pytest.raises(AssertionError, match=r"Claim\(index=0\)"):
        device.store.exchange(claim, TEXT, 1)


def test_the_end_of_a_pass_takes_everything_back(device: Device) -> None:
    store = device.store
    write(store, "text", 1)
    claim = claimed(store, 0)
    store._words[1] |= slots.PP_SLOT

    store.claims.end_pass()

    assert not store.claims.holds(claim)
    assert store.table.nr_flagged(slots.PP_SLOT) == 0


def test_claims_are_equal_only_to_themselves() -> None:
    assert Claim(FIRST) != Claim(FIRST)
