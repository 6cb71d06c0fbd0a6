"""The kernel's own zram, for comparison: devices made and removed by hot_add."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.integration import teardown
from tests.integration.stats import MmStat

_CONTROL: Final = Path("/sys/class/zram-control")


def why_not() -> str | None:
    """Return why there is no kernel zram to compare with, None if there is."""
    if (_CONTROL / "hot_add").exists():
        return None
    return "modprobe zram num_devices=0 has not been run"


class KernelZram:
    """One device made by `kernel_zram`."""

    def __init__(self, number: int) -> None:
        self.device = Path(f"/dev/zram{number}")
        self._attributes = Path(f"/sys/block/zram{number}")

    def store(self, name: str, text: str) -> None:
        """Write *text* to the attribute *name*."""
        (self._attributes / name).write_text(text)

    def mm_stat(self) -> MmStat:
        """Return the use of memory."""
        return MmStat.parse((self._attributes / "mm_stat").read_text())


@contextmanager
def kernel_zram(disksize: str) -> Iterator[KernelZram]:
    """Make a device that compresses with lz4; remove it at the end."""
    with ExitStack() as stack:
        number = int((_CONTROL / "hot_add").read_text())
        stack.callback((_CONTROL / "hot_remove").write_text, str(number))
        zram = KernelZram(number)
        stack.callback(teardown.swap_off, zram.device)
        zram.store("comp_algorithm", "lz4")
        zram.store("disksize", disksize)
        yield zram
