"""What tests of long work do all the time."""

from tests.backing import drive
from tests.unit.requests import write_page
from zramfs.core.block_state import read_block_state
from zramfs.core.claims import Claim
from zramfs.core.device import Device
from zramfs.core.postprocess import Recompression
from zramfs.core.slots import PP_SLOT
from zramfs.core.store import Store

run = drive


def claimed(store: Store, index: int) -> Claim:
    """Choose a page as a scan does, and claim it."""
    store._words[index] |= PP_SLOT
    claim = store.claims.claim(index)
    assert claim
    return claim


def flags(device: Device) -> dict[int, str]:
    """Return the six letters of each stored page."""
    text, _ = read_block_state(device, 0, 1 << 30)
    lines = text.decode().splitlines()
    return {int(line.split()[0]): line.split()[2] for line in lines}


def marks(device: Device) -> str:
    """Return the letters of all stored pages without the dots, apart by blanks."""
    return " ".join(
        letters.replace(".", "") or "-" for letters in flags(device).values()
    )


def request(
    *,
    mode: int = 0,
    threshold: int = 0,
    max_pages: int | None = None,
    priority: int = 1,
    is_last: bool = True,
) -> Recompression:
    return Recompression(
        mode=mode,
        threshold=threshold,
        max_pages=max_pages,
        priority=priority,
        is_last=is_last,
    )


def opened(device: Device, *names: str, nr_slots: int = 64) -> Device:
    """Initialise *device* with these algorithms."""
    for priority, name in enumerate(names):
        device.set_algorithm(priority, name)
    device.set_disksize(nr_slots * 4096)
    return device


def fill(device: Device, *kinds: str) -> None:
    """Write pages of these *kinds* one after the other."""
    for index, kind in enumerate(kinds):
        write_page(device, index, kind)
