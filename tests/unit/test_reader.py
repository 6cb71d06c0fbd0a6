"""zramfs.core.reader: many pages at once, as if they were taken one by one."""

import pytest

from tests.pages import make_page
from tests.unit.conftest import NR_SLOTS
from tests.unit.storing import discard, write
from tests.verify import used_slots
from zramfs.core import slots
from zramfs.core.codecs import ALGORITHMS, Params
from zramfs.core.device import Device
from zramfs.core.reader import same_block
from zramfs.core.store import Store
from zramfs.errors import ReadFailed, WriteFailed
from zramfs.units import PAGE_SHIFT, PAGE_SIZE, PageIndex

FIRST = PageIndex(0)
KINDS = (
    *("zero", "same:7", "same:ffffffffffffffff", "near", "text", "half"),
    *("part:3587", "part:3588", "rand"),
)
MIXED = [KINDS[page * 5 % len(KINDS)] for page in range(NR_SLOTS)]


def make_pages(kinds: list[str]) -> bytes:
    return b"".join(make_page(kind, page) for page, kind in enumerate(kinds))


def words_of(store: Store) -> dict[int, int]:
    return {slot.index: slot.word for slot in used_slots(store)}


def ready(device: Device, *algorithms: str, params: Params | None = None) -> Store:
    for priority, name in enumerate(algorithms):
        device.set_algorithm(priority, name)
    if params:
        device.set_params(0, params)
    device.set_disksize(NR_SLOTS * PAGE_SIZE)
    return device.store


@pytest.mark.parametrize("fill", [0, 1, 0x1122334455667788, (1 << 64) - 1])
def test_a_same_filled_page_is_an_lz4_block_of_its_word(
    store: Store, fill: int
) -> None:
    codec = store.codec(0)

    assert codec
    page = codec.decompress(same_block(fill.to_bytes(8, "little")))
    assert page == make_page(f"same:{fill:x}")


@pytest.mark.parametrize("kinds", [MIXED, *([kind] * NR_SLOTS for kind in KINDS)])
def test_a_run_is_stored_as_its_pages_are(bare: Device, kinds: list[str]) -> None:
    store = ready(bare)
    store.write_many(FIRST, memoryview(make_pages(kinds)))
    together = words_of(store), store.compr_data_size, store.huge_pages
    since = bare.counters.huge_pages_since
    bare.reset()

    store = ready(bare)
    for page, kind in enumerate(kinds):
        write(store, kind, page)
    assert (words_of(store), store.compr_data_size, store.huge_pages) == together
    assert bare.counters.huge_pages_since == since


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_run_comes_back_as_it_was(bare: Device, name: str) -> None:
    ready(bare, name)
    data = make_pages(MIXED)
    bare.write(0, memoryview(data))

    assert bare.read(0, len(data)) == data
    assert bare.read(100, len(data) - 300) == data[100:-200]


@pytest.mark.parametrize(
    "params", [Params(level=9), Params(dictionary=make_page("text"))]
)
def test_lz4_of_another_kind_comes_back_as_it_was(bare: Device, params: Params) -> None:
    store = ready(bare, "lz4", params=params)
    data = make_pages(MIXED)
    store.write_many(FIRST, memoryview(data))

    assert bare.read(0, len(data)) == data


@pytest.mark.parametrize("start", [1, 100, PAGE_SIZE - 1])
def test_the_edges_of_a_run_are_kept(device: Device, start: int) -> None:
    before = make_pages(["rand"] * NR_SLOTS)
    data = make_pages(MIXED)[: 40 * PAGE_SIZE]
    device.write(0, memoryview(before))
    device.write(start, memoryview(data))

    end = start + len(data)
    assert device.read(0, len(before)) == before[:start] + data + before[end:]


def test_pages_recompressed_by_others_are_among_them(bare: Device) -> None:
    store = ready(bare, "lz4", "zstd", "lz4hc")
    data = make_pages(["half"] * NR_SLOTS)
    store.write_many(FIRST, memoryview(data))
    for priority in (1, 2):
        for index in range(priority, NR_SLOTS, 3):
            _recompress(store, PageIndex(index), priority)
    priorities = {slot.priority for slot in used_slots(store)}

    assert priorities == {0, 1, 2}
    assert store.read_many(FIRST, NR_SLOTS) == data


def _recompress(store: Store, index: PageIndex, priority: int) -> None:
    codec = store.codec(priority)
    assert codec
    store.table.words[index] |= slots.PP_SLOT
    claim = store.claims.claim(index)
    assert claim
    store.exchange(claim, codec.compress(store.peek(claim)), priority)


def test_what_was_never_written_is_zeros(store: Store) -> None:
    assert store.read_many(FIRST, NR_SLOTS) == bytes(NR_SLOTS * PAGE_SIZE)
    assert used_slots(store) == []


def test_reading_a_run_is_an_access_to_each_page(device: Device) -> None:
    store = device.store
    device.write(0, memoryview(make_pages(MIXED)))
    discard(store, 20, 4)
    for _ in device.mark_idle(None):
        pass
    device.tick(77)
    device.read(16 << PAGE_SHIFT, 24 << PAGE_SHIFT, slots.NO_WB)

    for slot in used_slots(store):
        is_read = 16 <= slot.index < 40
        assert slot.has(slots.NO_WB) == is_read
        assert slot.has(slots.IDLE) == (slot.is_resident and not is_read)
        assert (store.table.ac_time[slot.index] == 77) == is_read


def test_reading_a_run_takes_claims_away(store: Store) -> None:
    store.write_many(FIRST, memoryview(make_pages(["text"] * NR_SLOTS)))
    for index in (3, 30):
        store.table.words[index] |= slots.PP_SLOT
    claims = [store.claims.claim(index) for index in (3, 30)]
    store.read_many(FIRST, 20)

    assert [bool(claim and store.claims.holds(claim)) for claim in claims] == [
        False,
        True,
    ]
    store.claims.end_pass()


@pytest.mark.parametrize("page", [0, 20, 63])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_corrupt_page_is_found_in_a_run(bare: Device, name: str, page: int) -> None:
    store = ready(bare, name)
    bare.write(0, memoryview(make_pages(["half"] * NR_SLOTS)))
    slot = used_slots(store)[page]
    store._pool.read(*slot.place, slot.size)[:] = b"\xff" * slot.size
    bare.tick(9)

    with pytest.raises(ReadFailed, match=f"^page {page}: {name}: "):
        bare.read(0, NR_SLOTS * PAGE_SIZE)
    assert bare.counters.failed_reads == 1
    times = list(store.table.ac_time)
    assert times == [9] * (page + 1) + [0] * (NR_SLOTS - page - 1)


def test_a_recompressed_page_of_another_length_is_corrupt(bare: Device) -> None:
    store = ready(bare, "lz4", "zstd")
    bare.write(0, memoryview(make_pages(["half"] * NR_SLOTS)))
    codec = store.codec(1)
    assert codec
    # What it gives is, of all things, the LZ4 block of a page.
    primary = store.codec(0)
    assert primary
    block = bytes(primary.compress(make_page("text")))
    store.table.words[5] |= slots.PP_SLOT
    claim = store.claims.claim(5)
    assert claim
    store.exchange(claim, codec.compress(block), 1)

    with pytest.raises(ReadFailed, match=f"^page 5: zstd: {len(block)} bytes"):
        bare.read(0, NR_SLOTS * PAGE_SIZE)


def test_the_pages_before_the_limit_are_stored(device: Device) -> None:
    before = make_pages(["text"] * NR_SLOTS)
    device.write(0, memoryview(before))
    device.set_mem_limit((device.store.pool_pages + 20) * PAGE_SIZE)
    data = make_pages(["rand"] * NR_SLOTS)

    with pytest.raises(WriteFailed, match=r"^page 20: "):
        device.write(0, memoryview(data))
    end = 20 * PAGE_SIZE
    assert device.read(0, len(data)) == data[:end] + before[end:]
    assert device.counters.failed_writes == 1
