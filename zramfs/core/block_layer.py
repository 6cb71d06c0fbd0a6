"""The files that the block layer makes for every disk: ``queue/`` and others.

What they show is what Linux shows of a zram (``block/genhd.c``, ``blk-sysfs.c`` and
``drivers/base/core.c``; observed on 6.18). Most never change, not even with
disksize. What can be stored to ``queue/`` is checked as there, kept until the end of
the mount, and shown; it changes nothing here, because requests come through the
queue of a loop device or through none.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from zramfs.core.attributes import Attribute
from zramfs.core.device import Change
from zramfs.core.disk import Disk
from zramfs.errors import InvalidValue, NoEvents, OutOfRange
from zramfs.units import PAGE_SIZE, SECTOR_SHIFT, kstrtoull

DIRECTORIES: Final = ("holders", "slaves")
"""Where the kernel links to the disks above and below: nothing here."""


_FIXED: Final = (
    ("alignment_offset", "0\n"),
    ("capability", "0\n"),
    ("discard_alignment", "0\n"),
    ("events", ""),
    ("events_async", ""),
    ("ext_range", "1\n"),
    ("hidden", "0\n"),
    ("inflight", "       0        0\n"),
    ("partscan", "0\n"),
    ("range", "1\n"),
    ("removable", "0\n"),
    ("ro", "0\n"),
    ("queue/atomic_write_boundary_bytes", "0\n"),
    ("queue/atomic_write_max_bytes", "0\n"),
    ("queue/atomic_write_unit_max_bytes", "0\n"),
    ("queue/atomic_write_unit_min_bytes", "0\n"),
    ("queue/chunk_sectors", "0\n"),
    ("queue/dax", "0\n"),
    ("queue/discard_granularity", "4096\n"),
    ("queue/discard_max_hw_bytes", "2199023255040\n"),
    ("queue/discard_zeroes_data", "0\n"),
    ("queue/dma_alignment", "511\n"),
    ("queue/fua", "0\n"),
    ("queue/hw_sector_size", "4096\n"),
    ("queue/logical_block_size", "4096\n"),
    ("queue/max_discard_segments", "1\n"),
    ("queue/max_hw_sectors_kb", "124\n"),
    ("queue/max_integrity_segments", "0\n"),
    ("queue/max_segment_size", "65536\n"),
    ("queue/max_segments", "128\n"),
    ("queue/max_write_streams", "0\n"),
    ("queue/minimum_io_size", "4096\n"),
    ("queue/nr_zones", "0\n"),
    ("queue/optimal_io_size", "4096\n"),
    ("queue/physical_block_size", "4096\n"),
    ("queue/virt_boundary_mask", "0\n"),
    ("queue/write_same_max_bytes", "0\n"),
    ("queue/write_stream_granularity", "0\n"),
    ("queue/write_zeroes_max_bytes", "2199023255040\n"),
    ("queue/write_zeroes_unmap_max_hw_bytes", "0\n"),
    ("queue/zone_append_max_bytes", "0\n"),
    ("queue/zone_write_granularity", "0\n"),
    ("queue/zoned", "none\n"),
)
"""What is the same for every zram, at any time."""

_U32_MAX: Final = (1 << 32) - 1

_MAX_SECTORS_KB: Final = 124

_PAGE_KB: Final = PAGE_SIZE >> 10

_UEVENT: Final = re.compile(
    r"(add|remove|change|move|online|offline|bind|unbind)"
    r"( [0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}( \w+=\w+)*)?\n?"
)


def _number(text: str) -> int:
    try:
        return kstrtoull(text, maximum=_U32_MAX)
    except OutOfRange as error:
        raise InvalidValue(str(error)) from error


def _flag(text: str) -> int:
    return int(_number(text) != 0)


def _nomerges(text: str) -> int:
    number = _number(text)
    return number if number == 2 else int(number != 0)


def _discard_max_bytes(text: str) -> int:
    number = _number(text)
    if number % PAGE_SIZE:
        raise InvalidValue(f"not in whole pages: {text!r}")
    return number


def _write_zeroes_unmap_max_bytes(text: str) -> int:
    if _number(text):
        raise InvalidValue(f"writing zeroes does not unmap: {text!r}")
    return 0


def _max_sectors_kb(text: str) -> int:
    number = _number(text)
    if 0 < number < _PAGE_KB:
        raise InvalidValue(f"less than a page: {text!r}")
    most = min(number or _MAX_SECTORS_KB, _MAX_SECTORS_KB)
    return most - most % _PAGE_KB


def _read_ahead_kb(text: str) -> int:
    number = _number(text)
    return number - number % _PAGE_KB


_SETTINGS: Final[Mapping[str, tuple[int, Callable[[str], int]]]] = {
    "queue/add_random": (0, _flag),
    "queue/discard_max_bytes": (2199023255040, _discard_max_bytes),
    "queue/iostats": (0, _flag),
    "queue/iostats_passthrough": (0, _flag),
    "queue/max_sectors_kb": (_MAX_SECTORS_KB, _max_sectors_kb),
    "queue/nomerges": (0, _nomerges),
    "queue/read_ahead_kb": (128, _read_ahead_kb),
    "queue/rotational": (0, _flag),
    "queue/stable_writes": (1, _flag),
    "queue/write_zeroes_unmap_max_bytes": (0, _write_zeroes_unmap_max_bytes),
}
"""What can be set: to what it is at first, and what a store would make of it."""


def _unchanged(_: object) -> None:
    """Change nothing."""


def _io_poll(text: str) -> Change:
    raise InvalidValue(f"a zram is not polled: {text!r}")


def _io_poll_delay(_text: str) -> Change:
    return _unchanged


def _write_cache(text: str) -> Change:
    if not text.startswith(("write back", "write through", "none")):
        raise InvalidValue(f"no kind of cache: {text!r}")
    return _unchanged  # there is no cache to switch on


def _events_poll_msecs(text: str) -> Change:
    if not re.match(r"\s*-?\d", text):
        raise InvalidValue(f"not a number: {text!r}")
    raise NoEvents("a zram has no events to poll for")


def _uevent(text: str) -> Change:
    if not _UEVENT.fullmatch(text):
        raise InvalidValue(f"not an action: {text!r}")
    return _unchanged  # no event of ours would reach anybody


_CHECKED: Final = (
    ("events_poll_msecs", "-1\n", _events_poll_msecs),
    ("queue/io_poll", "0\n", _io_poll),
    ("queue/io_poll_delay", "-1\n", _io_poll_delay),
    ("queue/write_cache", "write through\n", _write_cache),
)
"""What can be stored to, and shows the same whatever is."""

_DOC: Final = "as the block layer shows it of a zram"


def block_layer_files(disk: Callable[[], Disk | None]) -> tuple[Attribute, ...]:
    """Return the rows for one mount, whose block device *disk* tells, if any."""
    return (
        Attribute(
            name="size",
            show=lambda device: f"{device.disksize >> SECTOR_SHIFT}\n",
            doc="disksize in sectors of 512 bytes",
        ),
        Attribute(
            name="stat",
            show=lambda device: str(device.block_stat()),
            doc="read and write requests and sectors, in the block layer's format",
        ),
        *_identity(disk),
        *(_fixed(name, text) for name, text in _FIXED),
        *_settings(),
        *(
            Attribute(name=name, show=_always(text), parse=parse, doc=_DOC)
            for name, text, parse in _CHECKED
        ),
    )


def _always(text: str) -> Callable[[object], str]:
    return lambda _: text


def _fixed(name: str, text: str) -> Attribute:
    return Attribute(name=name, show=_always(text), doc=_DOC)


def _identity(disk: Callable[[], Disk | None]) -> tuple[Attribute, ...]:
    """Return the rows that say which block device this is."""

    def tell(
        attached: Callable[[Disk], str], otherwise: str
    ) -> Callable[[object], str]:
        def show(_: object) -> str:
            found = disk()
            return attached(found) if found else otherwise

        return show

    return (
        Attribute(
            name="dev",
            show=tell(lambda found: f"{found.dev}\n", "0:0\n"),
            doc="major and minor number of the loop device attached, else 0:0",
        ),
        Attribute(
            name="diskseq",
            show=tell(lambda found: f"{found.diskseq}\n", "0\n"),
            doc="sequence number of the loop device attached, else 0",
        ),
        Attribute(
            name="uevent",
            show=tell(Disk.uevent, "DEVTYPE=disk\n"),
            parse=_uevent,
            doc="what udev is told of the loop device attached",
        ),
    )


def _settings() -> tuple[Attribute, ...]:
    """Return the rows that keep what is stored to them."""
    values = {name: first for name, (first, _) in _SETTINGS.items()}

    def row(name: str, parse: Callable[[str], int]) -> Attribute:
        def store(text: str) -> Change:
            value = parse(text)
            return lambda _: values.update({name: value})

        return Attribute(
            name=name, show=lambda _: f"{values[name]}\n", parse=store, doc=_DOC
        )

    return tuple(row(name, parse) for name, (_, parse) in _SETTINGS.items())
