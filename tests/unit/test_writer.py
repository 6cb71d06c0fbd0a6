"""zramfs.core.writer: many pages stored together, as each by itself."""

from itertools import pairwise

import pytest

from tests.pages import make_page
from tests.unit.passes import claimed
from tests.unit.requests import write_page
from tests.unit.storing import holds, write
from tests.verify import verify
from zramfs.core.chunks import compress_pages
from zramfs.core.device import Device
from zramfs.core.store import Store
from zramfs.core.writer import Kind, kinds_in_turn
from zramfs.errors import MemoryShort, WriteFailed
from zramfs.memory import MemFile
from zramfs.units import PAGE_SIZE

NR_PAGES = 40


@pytest.fixture
def device(bare: Device) -> Device:
    bare.set_disksize(2 * NR_PAGES * PAGE_SIZE)
    return bare


@pytest.fixture
def store(device: Device) -> Store:
    return device.store


def pages(*kinds: str) -> memoryview:
    return memoryview(b"".join(make_page(kind, at) for at, kind in enumerate(kinds)))


def stored_alone(kinds: list[str]) -> tuple[object, ...]:
    """Return the counters of a device that these pages were written to one by one."""
    memory = MemFile()
    other = Device(memory)
    other.set_disksize(2 * NR_PAGES * PAGE_SIZE)
    for index, kind in enumerate(kinds):
        write_page(other, index, kind)
    found = counted(other)
    other.reset()
    return found


def counted(device: Device) -> tuple[object, ...]:
    stat = device.mm_stat()
    return (
        *(stat.orig_data_size, stat.compr_data_size, stat.mem_used_total),
        *(stat.same_pages, stat.huge_pages, stat.huge_pages_since),
    )


@pytest.mark.parametrize(
    "kinds",
    [
        ["text"] * NR_PAGES,
        ["text", "half"] * (NR_PAGES // 2),
        ["text"] * 20 + ["rand"] + ["half"] * 19,
        ["same:7"] * 5 + ["text"] * 30 + ["zero"] * 5,
        ["rand"] * NR_PAGES,
        ["zero"] * NR_PAGES,
    ],
    ids=["alike", "two", "one huge", "some same", "huge", "same"],
)
def test_pages_are_stored_as_if_one_by_one(device: Device, kinds: list[str]) -> None:
    device.write(0, pages(*kinds))

    assert counted(device) == stored_alone(kinds)
    for at, kind in enumerate(kinds):
        assert device.read(at * PAGE_SIZE, PAGE_SIZE) == make_page(kind, at)


@pytest.mark.parametrize("before", ["", "text", "half", "same:7", "zero", "rand"])
def test_what_was_there_is_given_up(device: Device, before: str) -> None:
    for index in range(5, 30) if before else ():
        write_page(device, index, before)

    device.write(0, pages(*["text"] * NR_PAGES))

    assert holds(device.store, "text", *range(NR_PAGES))
    assert counted(device)[:2] == stored_alone(["text"] * NR_PAGES)[:2]
    assert device.mm_stat().same_pages == 0
    assert device.mm_stat().huge_pages == 0
    verify(device)


def test_they_are_stored_together(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    monkeypatch.setattr(Store, "_keep", lambda _, index, _stored: kept.append(index))

    device.write(0, pages(*["text"] * NR_PAGES))

    assert not kept
    assert holds(device.store, "text", *range(NR_PAGES))


def test_they_are_accessed_then(device: Device) -> None:
    device.tick(77)

    device.write(0, pages(*["text"] * NR_PAGES))

    assert set(device.store.table.ac_time[:NR_PAGES]) == {77}
    assert set(device.store.table.ac_time[NR_PAGES:]) == {0}


def test_claims_on_what_was_there_are_lost(device: Device, store: Store) -> None:
    write(store, "text", 3, 50)
    lost, kept = claimed(store, 3), claimed(store, 50)

    device.write(0, pages(*["text"] * NR_PAGES))

    assert not store.claims.holds(lost)
    assert store.claims.holds(kept)
    store.claims.end_pass()


def test_what_there_is_no_memory_for_stays_as_it_was(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages before it are stored, as if they had come one by one."""
    write(device.store, "half", *range(NR_PAGES))
    alloc = device.store._pool.alloc
    nr_left = [NR_PAGES + 7]  # all but the last few of a first attempt, then some

    def short(_pool: object, klass: int) -> int:
        nr_left[0] -= 1
        if nr_left[0] in (7 + 5, 0):
            raise MemoryShort("no memory")
        return alloc(klass)

    with monkeypatch.context() as patch:
        patch.setattr("zramfs.core.pool.Pool.alloc", short)
        with pytest.raises(WriteFailed):
            device.write(0, pages(*["text"] * NR_PAGES))

    verify(device)
    indexes = range(NR_PAGES)
    is_new = [holds(device.store, "text", index) for index in indexes]
    assert all(a >= b for a, b in pairwise(is_new))
    assert 0 < sum(is_new) < NR_PAGES
    assert holds(device.store, "half", *indexes[sum(is_new) :])


def test_a_limit_is_that_of_each_page(device: Device) -> None:
    device.set_mem_limit(3 * PAGE_SIZE)

    with pytest.raises(WriteFailed):
        device.write(0, pages(*["half"] * NR_PAGES))

    verify(device)
    nr_stored = device.mm_stat().orig_data_size // PAGE_SIZE
    assert 0 < nr_stored < NR_PAGES
    assert holds(device.store, "half", *range(nr_stored))


def test_kinds_come_in_turn() -> None:
    kinds = [*["text"] * 3, "rand", *["same:1"] * 2, "text"]
    data = pages(*kinds)

    found = list(kinds_in_turn(data, compress_pages(data)))

    assert found == [
        (Kind.OBJECT, range(3)),
        (Kind.HUGE, range(3, 4)),
        (Kind.SINGLE, range(4, 6)),
        (Kind.OBJECT, range(6, 7)),
    ]
    assert list(kinds_in_turn(data, None)) == [(Kind.SINGLE, range(7))]
