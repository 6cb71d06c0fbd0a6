"""The kernel's own zram, for comparison: devices made and removed by hot_add.

zram0 is there when the module is, and may be in use: it is never touched.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.integration import teardown
from tests.integration.stats import MmStat

_CONTROL: Final = Path("/sys/class/zram-control")


def why_not() -> str | None:
    """Return why there is no kernel zram to compare with, None if there is."""
    if not (_CONTROL / "hot_add").exists():
        return "modprobe zram has not been run"
    if not Path("/sys/block/zram0").exists():
        return "there is no zram0, which hot_add would make"
    return None


class KernelZram:
    """One device made by `hot_added`."""

    def __init__(self, number: int) -> None:
        # invariant: hot_add takes the lowest free number, and zram0 is there.
        assert number, "this is zram0"
        self.device = Path(f"/dev/zram{number}")
        self.attributes = Path(f"/sys/block/zram{number}")
        self.block_state = Path(f"/sys/kernel/debug/zram/zram{number}/block_state")

    def store(self, name: str, text: str) -> None:
        """Write *text* to the attribute *name*."""
        (self.attributes / name).write_text(text)

    def mm_stat(self) -> MmStat:
        """Return the use of memory."""
        return MmStat.parse((self.attributes / "mm_stat").read_text())


@contextmanager
def hot_added() -> Iterator[KernelZram]:
    """Make a device without a disksize; remove it at the end."""
    with ExitStack() as stack:
        number = int((_CONTROL / "hot_add").read_text())
        stack.callback((_CONTROL / "hot_remove").write_text, str(number))
        zram = KernelZram(number)
        stack.callback(teardown.swap_off, zram.device)
        yield zram


@contextmanager
def kernel_zram(disksize: str) -> Iterator[KernelZram]:
    """Make a device that compresses with lz4; remove it at the end."""
    with hot_added() as zram:
        zram.store("comp_algorithm", "lz4")
        zram.store("disksize", disksize)
        yield zram
