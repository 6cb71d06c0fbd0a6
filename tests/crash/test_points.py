"""Every state that an operation leaves the memory in, taken over and verified."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.backing import attach, backings_of, discard, drive, read, write
from tests.crash.points import crash_points, take_image, taken_over
from tests.pages import make_page
from tests.verify import opened_device
from zramfs.core.attributes import ATTRIBUTES
from zramfs.core.codecs import Params
from zramfs.core.device import Device
from zramfs.core.lifecycle import State
from zramfs.errors import InvalidValue, WritebackLimitReached, WriteFailed
from zramfs.memory import MemFile
from zramfs.units import PAGE_SHIFT, PAGE_SIZE

NR_SLOTS = 12
KINDS = ("none", "zero", "same:7", "same:8", "text", "half", "rand")

Operation = Callable[[Device], None]


def store(name: str, text: str) -> Operation:
    return lambda device: drive(ATTRIBUTES[name].store(device, text))


def put(index: int, kind: str, number: int | None = None) -> Operation:
    """Write a page, or discard it."""

    def operation(device: Device) -> None:
        if kind == "none":
            discard(device, index * PAGE_SIZE, PAGE_SIZE)
        else:
            page = make_page(kind, index if number is None else number)
            write(device, index * PAGE_SIZE, page)

    return operation


def fill(*kinds: str) -> Operation:
    def operation(device: Device) -> None:
        for index, kind in enumerate(kinds):
            put(index, kind)(device)

    return operation


def in_turn(*operations: Operation) -> Operation:
    def operation(device: Device) -> None:
        for each in operations:
            each(device)

    return operation


@dataclass(frozen=True, slots=True)
class Seen:
    """What can be seen of a device."""

    state: State
    disksize: int
    mem_limit: int
    config: bytes
    pages: tuple[bytes, ...]
    counters: dict[str, int]

    @classmethod
    def of(cls, device: Device) -> "Seen":
        counters = device.counters.values()
        nr_pages = device.disksize >> PAGE_SHIFT
        return cls(
            state=device.state,
            disksize=device.disksize,
            mem_limit=device.mem_limit,
            config=device.config.to_json(),
            pages=tuple(
                read(device, index << PAGE_SHIFT, PAGE_SIZE)
                for index in range(nr_pages)
            ),
            counters=counters,
        )


def seen_later(device: Device) -> Seen:
    """Return what is seen of *device* by who takes it over now."""
    assert isinstance(device._memory, MemFile)
    image = take_image(device._memory.fd)
    with taken_over(image, backings_of(device)) as other:
        return Seen.of(other)


def check(device: Device, before: Seen, after: Seen) -> None:
    """Assert that everything is as *before* or as *after*."""
    seen = Seen.of(device)
    assert seen.state in (before.state, after.state)
    assert seen.disksize in (before.disksize, after.disksize)
    assert seen.mem_limit in (before.mem_limit, after.mem_limit)
    assert seen.config in (before.config, after.config)
    for index, page in enumerate(seen.pages):
        known = [pages[index] for pages in (before.pages, after.pages) if pages]
        assert page in known, f"page {index} is lost"
    for name, count in seen.counters.items():
        counts = sorted((before.counters[name], after.counters[name]))
        assert counts[0] <= count <= counts[1], name


def sweep(prepare: Operation, operation: Operation) -> int:
    """Do *operation*, crash wherever one can, and return at how many points."""
    with opened_device() as device:  # once without, to know what it leads to
        prepare(device)
        before = seen_later(device)
        operation(device)
        after = seen_later(device)
    with opened_device() as device:
        prepare(device)
        with crash_points(device, lambda other: check(other, before, after)) as watch:
            operation(device)
    return watch.nr_points


def ready(*kinds: str, algorithms: tuple[str, ...] = ("lz4",)) -> Operation:
    """Return what makes a device with pages of *kinds*."""

    def prepare(device: Device) -> None:
        for priority, name in enumerate(algorithms):
            device.set_algorithm(priority, name)
        device.set_disksize(NR_SLOTS * PAGE_SIZE)
        fill(*kinds)(device)

    return prepare


def backed(*kinds: str, compressed: bool = False) -> Operation:
    """Return what makes a device with a backing device, too."""

    def prepare(device: Device) -> None:
        attach(device, NR_SLOTS)
        device.backing.compressed = compressed
        ready(*kinds)(device)

    return prepare


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", KINDS)
def test_a_page_takes_the_place_of_another(old: str, new: str) -> None:
    assert sweep(ready("rand", "text", "rand", "half", old), put(4, new, 9)) > 1


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", KINDS)
def test_a_page_takes_the_place_of_another_amid_others(old: str, new: str) -> None:
    sweep(ready("rand", old, "rand", "text", "half"), put(1, new, 9))


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_take_the_place_of_others_in_three_pages(kind: str) -> None:
    def operation(device: Device) -> None:
        write(device, 100, make_page("rand") * 2)

    # Each page is replaced by itself, but the three of them are not one.
    assert sweep(ready("text", kind, "rand"), operation) > 1


@pytest.mark.parametrize("algorithm", ["lz4", "zstd"])
@pytest.mark.parametrize("prepare", [(), (*KINDS, *KINDS[2:])], ids=["empty", "full"])
def test_many_pages_are_written_at_once(
    prepare: tuple[str, ...], algorithm: str
) -> None:
    kinds = ("text", "rand", "half", "zero", "part:3587", "same:9") * 2
    pages = b"".join(make_page(kind, 9) for kind in kinds)

    def operation(device: Device) -> None:
        write(device, 0, pages)

    assert sweep(ready(*prepare, algorithms=(algorithm,)), operation) > NR_SLOTS


def test_a_write_that_finds_no_room_changes_nothing() -> None:
    def operation(device: Device) -> None:
        with pytest.raises(WriteFailed, match="pages in use"):
            put(0, "rand", 9)(device)

    sweep(in_turn(ready("rand", "text"), store("mem_limit", "8K")), operation)


def test_pages_are_discarded() -> None:
    def operation(device: Device) -> None:
        discard(device, PAGE_SIZE // 2, 10 * PAGE_SIZE)

    assert sweep(ready(*KINDS, "rand", "text", "half", "rand"), operation) > 10


def test_the_pool_is_compacted() -> None:
    holes = in_turn(*(put(index, "none") for index in (0, 1, 4, 6)))
    kinds = ("text", "half", "rand", "half", "text", "rand", "half", "half", "text")

    assert sweep(in_turn(ready(*kinds), holes), store("compact", "1")) > 3


@pytest.mark.parametrize("types", ["", "type=huge", "type=idle", "threshold=3000"])
def test_pages_are_recompressed(types: str) -> None:
    kinds = ("text", "rand", "half", "zero", "part:3587", "text", "part:3588")
    prepare = in_turn(
        ready(*kinds, algorithms=("lz4", "zstd")), store("idle", "all"), put(2, "half")
    )

    assert sweep(prepare, store("recompress", types)) > 3


def test_pages_are_recompressed_one_after_the_other() -> None:
    kinds = ("text", "rand", "half", "rand", "text")

    assert sweep(ready(*kinds, algorithms=("lz4", "deflate")), store("recompress", ""))


@pytest.mark.parametrize("age", ["all", "1"])
def test_pages_are_marked_idle(age: str) -> None:
    def prepare(device: Device) -> None:
        ready("text", "zero", "rand")(device)
        device.tick(100)
        put(3, "text")(device)

    assert sweep(prepare, store("idle", age)) > 1


SPILLED = ("text", "rand", "half", "zero", "text", "rand", "same:7")


@pytest.mark.parametrize("compressed", [False, True])
def test_pages_are_written_back(*, compressed: bool) -> None:
    operation = store("writeback", "page_indexes=0-5")

    assert sweep(backed(*SPILLED, compressed=compressed), operation) > 9


def test_pages_are_written_back_until_the_limit() -> None:
    def operation(device: Device) -> None:
        with pytest.raises(WritebackLimitReached, match="pages are left"):
            store("writeback", "page_indexes=0-5")(device)

    limit = in_turn(store("writeback_limit", "2"), store("writeback_limit_enable", "1"))
    sweep(in_turn(backed(*SPILLED), limit), operation)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index", [0, 1])
def test_a_page_takes_the_place_of_one_written_back(index: int, kind: str) -> None:
    prepare = in_turn(backed(*SPILLED), store("writeback", "page_indexes=0-4"))

    assert sweep(prepare, put(index, kind, 9)) > 1


def test_blocks_are_used_again() -> None:
    prepare = in_turn(
        backed(*SPILLED), store("writeback", "page_indexes=0-4"), put(1, "rand", 9)
    )
    operation = in_turn(put(0, "none"), store("writeback", "page_indexes=1-5"))

    sweep(prepare, operation)


@pytest.mark.parametrize(
    "prepare",
    [ready(*KINDS), backed(*SPILLED), store("mem_limit", "1M")],
    ids=["ready", "backed", "bare"],
)
def test_a_device_is_reset(prepare: Operation) -> None:
    chosen = store("comp_algorithm", "zstd")

    assert sweep(in_turn(chosen, prepare), store("reset", "1")) > 3


def test_a_device_is_initialised() -> None:
    chosen = in_turn(
        store("comp_algorithm", "zstd"), lambda device: void(attach(device, 9))
    )

    assert sweep(chosen, store("disksize", "64K")) > 3


def test_a_disksize_is_refused() -> None:
    def operation(device: Device) -> None:
        with pytest.raises(InvalidValue, match="no level"):
            device.set_disksize(1 << 20)

    def prepare(device: Device) -> None:
        attach(device, 9)
        device.set_params(0, Params(level=-9))

    assert sweep(prepare, operation) > 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("comp_algorithm", "zstd"),
        ("recomp_algorithm", "algo=deflate priority=3"),
        ("algorithm_params", "level=3"),
        ("mem_limit", "1G"),
        ("writeback_limit", "7"),
        ("compressed_writeback", "1"),
    ],
)
def test_a_setting_is_the_old_one_or_the_new_one(name: str, text: str) -> None:
    assert sweep(store("comp_algorithm", "lz4hc"), store(name, text)) > 1


def void(_: object) -> None:
    """Return nothing of what there is."""
