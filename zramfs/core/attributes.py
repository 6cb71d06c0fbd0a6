"""The control files of ``/sys/block/zramN``: one table.

A row is all that zramfs knows of an attribute. The listing and the mode bits of
the mount, the options of ``zramfs mount``, the README's table and the conformance
tests derive from it; no other module knows an attribute's name.

A store takes the text of one write(2), cut at its first NUL. Its order is the
kernel's and shows in the errno: parse, then look at the state, then change the
device. Grammar and formats: ``zram_drv.c`` of Linux 7.3.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from zramfs.core.algorithms import (
    parse_params,
    parse_primary,
    parse_recompress,
    parse_secondary,
    show_names,
    show_secondaries,
)
from zramfs.core.device import Change, Device
from zramfs.core.lifecycle import State
from zramfs.core.steps import Steps
from zramfs.core.writeback_files import (
    parse_backing_dev,
    parse_batch_size,
    parse_compressed,
    parse_limit,
    parse_limit_enable,
    parse_writeback,
)
from zramfs.errors import DeviceBusy, InvalidValue, NotInitialised
from zramfs.units import kstrtoull, memparse, number, page_align

Lines = Callable[[Device, int, int], tuple[bytes, int]]
"""Shows a part: from a slot on, and so many bytes; returns it, and where to go on."""


class When(Enum):
    """When an attribute may be stored to."""

    ALWAYS = "any time"
    BARE = "before disksize is set"
    READY = "after disksize is set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One file under the control directory."""

    name: str
    doc: str
    show: Callable[[Device], str] | None = None
    lines: Lines | None = None
    """Shows it piece by piece, where it is too long to be made at once."""
    parse: Callable[[str], Change] | None = None
    """Turns the text of a write into the change it asks for, or raises."""
    when: When = When.ALWAYS
    exclusive: bool = False
    """Whether its change must wait for other long work to end."""
    resizes: bool = False
    """Whether its change may change the disksize, which loop devices must follow."""
    option: str | None = None
    """Metavar of the option of ``zramfs mount``, None if there is no such option."""
    initialises: bool = False
    """Whether storing it freezes others, so that it must be stored last."""

    @property
    def mode(self) -> int:
        """Permission bits, as sysfs would create them."""
        readable = 0o444 if self.show else 0o400 if self.lines else 0
        return readable | (0o200 if self.parse else 0)

    def store(self, device: Device, text: str) -> Steps | None:
        """Do what writing *text* does; on any error the device is unchanged."""
        # invariant: files without write permission are never stored to.
        assert self.parse, f"{self.name} is read-only"
        change = self.parse(text)
        if self.when is When.BARE and device.state is not State.BARE:
            raise DeviceBusy(f"the device is {device.state.value}")
        if self.when is When.READY and device.state is not State.READY:
            raise NotInitialised(f"the device is {device.state.value}")
        return change(device)


_U16_MAX: Final = (1 << 16) - 1

_U32_MAX: Final = (1 << 32) - 1


def _disksize(text: str) -> Change:
    disksize = page_align(memparse(text))
    if not disksize:
        raise InvalidValue(f"not a disksize: {text!r}")
    return lambda device: device.set_disksize(disksize)


def _reset(text: str) -> Change:
    if not kstrtoull(text, maximum=_U16_MAX):
        raise InvalidValue(f"reset wants a number that is not 0: {text!r}")
    return Device.reset


def _mem_limit(text: str) -> Change:
    limit = memparse(text)
    return lambda device: device.set_mem_limit(limit)


def _mem_used_max(text: str) -> Change:
    if number(text):
        raise InvalidValue(f"mem_used_max takes 0 only: {text!r}")
    return Device.reset_mem_used_max


def _idle(text: str) -> Change:
    if text.removesuffix("\n") == "all":
        return lambda device: device.mark_idle(None)
    age_s = number(text, maximum=_U32_MAX, base=0)
    return lambda device: device.mark_idle(age_s)


def _compact(_text: str) -> Change:
    return Device.compact


# The kernel's order, that of zram_disk_attrs.
_TABLE: Final = (
    Attribute(
        name="disksize",
        show=lambda device: f"{device.disksize}\n",
        parse=_disksize,
        when=When.BARE,
        resizes=True,
        option="SIZE",
        initialises=True,
        doc="uncompressed capacity in bytes; setting it initialises the device",
    ),
    Attribute(
        name="initstate",
        show=lambda device: f"{int(device.state is State.READY)}\n",
        doc="1 once disksize is set, else 0",
    ),
    Attribute(
        name="reset",
        parse=_reset,
        exclusive=True,
        resizes=True,
        doc="drop all pages, statistics and settings; refused while open",
    ),
    Attribute(
        name="compact",
        parse=_compact,
        when=When.READY,
        exclusive=True,
        doc="move stored pages together and give the memory between them back",
    ),
    Attribute(
        name="mem_limit",
        parse=_mem_limit,
        option="SIZE",
        doc="most memory that stored pages may take, in bytes; 0 is no limit",
    ),
    Attribute(
        name="mem_used_max",
        parse=_mem_used_max,
        doc="0 begins the high-water mark of memory use anew",
    ),
    Attribute(
        name="idle",
        parse=_idle,
        when=When.READY,
        exclusive=True,
        doc="mark stored pages idle: 'all', or those not accessed for so many seconds",
    ),
    Attribute(
        name="comp_algorithm",
        show=lambda device: show_names(device.config.algorithms[0]),
        parse=parse_primary,
        when=When.BARE,
        option="NAME",
        doc="algorithms that there are, the one in use in brackets",
    ),
    Attribute(
        name="backing_dev",
        show=lambda device: device.backing.show(),
        parse=parse_backing_dev,
        when=When.BARE,
        exclusive=True,
        option="PATH",
        doc="block device or file that pages can be written back to; 'none' without",
    ),
    Attribute(
        name="writeback",
        parse=parse_writeback,
        when=When.READY,
        exclusive=True,
        doc="write pages to backing_dev: [type=]idle|huge|huge_idle|incompressible, or "
        "any page_index=N and page_indexes=FIRST-LAST",
    ),
    Attribute(
        name="writeback_limit",
        show=lambda device: f"{device.backing.limit}\n",
        parse=parse_limit,
        option="PAGES",
        doc="how many pages may yet be written back, if writeback_limit_enable is set",
    ),
    Attribute(
        name="writeback_limit_enable",
        show=lambda device: f"{int(device.backing.is_limited)}\n",
        parse=parse_limit_enable,
        option="0|1",
        doc="whether writeback_limit counts",
    ),
    Attribute(
        name="writeback_batch_size",
        show=lambda device: f"{device.backing.batch_size}\n",
        parse=parse_batch_size,
        option="N",
        doc="how many writes of a writeback may be in flight",
    ),
    Attribute(
        name="compressed_writeback",
        show=lambda device: f"{int(device.backing.compressed)}\n",
        parse=parse_compressed,
        when=When.BARE,
        option="0|1",
        doc="whether pages are written back compressed, as they are stored",
    ),
    Attribute(
        name="io_stat",
        show=lambda device: str(device.io_stat()),
        doc="failed_reads failed_writes invalid_io notify_free",
    ),
    Attribute(
        name="mm_stat",
        show=lambda device: str(device.mm_stat()),
        doc="orig_data_size compr_data_size mem_used_total mem_limit mem_used_max "
        "same_pages pages_compacted huge_pages huge_pages_since",
    ),
    Attribute(
        name="bd_stat",
        show=lambda device: str(device.bd_stat()),
        doc="bd_count bd_reads bd_writes: pages on backing_dev, read and written",
    ),
    Attribute(
        name="debug_stat",
        show=lambda device: f"version: 1\n0 {device.counters.miss_free:8}\n",
        doc="miss_free, behind a version number",
    ),
    Attribute(
        name="recomp_algorithm",
        show=show_secondaries,
        parse=parse_secondary,
        when=When.BARE,
        doc="secondary algorithms for recompress: algo=NAME [priority=1..3]",
    ),
    Attribute(
        name="recompress",
        parse=parse_recompress,
        when=When.READY,
        exclusive=True,
        doc="store pages anew with a secondary algorithm: [type=idle|huge|huge_idle] "
        "[threshold=BYTES] [max_pages=N] [algo=NAME] [priority=1..3]",
    ),
    Attribute(
        name="algorithm_params",
        parse=parse_params,
        when=When.BARE,
        exclusive=True,
        doc="parameters of an algorithm: [algo=NAME] [priority=0..3] [level=N] "
        "[dict=PATH] [deflate.winbits=N]",
    ),
)

ATTRIBUTES: Final[Mapping[str, Attribute]] = {row.name: row for row in _TABLE}
"""Every attribute by name, in the kernel's order."""
