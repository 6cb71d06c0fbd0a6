"""What the backing device is like, and how it does: ``zramfs/spill_stat``."""

from zramfs.core.device import Device
from zramfs.seal import Checksum
from zramfs.spill import Spill


def show_spill(device: Device) -> str:
    """Return one ``name value`` a line; a failure that is not 0 cost someone a page."""
    spill = device.backing.chosen
    counters = device.counters
    rows: dict[str, int | str] = {}
    if isinstance(spill, Spill):
        rows["direct"] = int(spill.is_direct)
        rows["encrypted"] = int(not isinstance(spill.sealer, Checksum))
    rows |= {
        "read_errors": counters.bd_read_errors,
        "short_reads": counters.bd_short_reads,
        "corrupt_blocks": counters.bd_corrupt_blocks,
        "write_errors": counters.bd_write_errors,
    }
    return "".join(f"{name} {value}\n" for name, value in rows.items())
