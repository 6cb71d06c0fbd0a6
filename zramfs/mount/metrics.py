"""All statistics in Prometheus' text format: ``zramfs/metrics``.

Names are the columns of mm_stat, io_stat, bd_stat and stat, behind ``zramfs_``; what
only goes up ends in ``_total``, as does mem_used_total, which is the kernel's name.
Written here because the package for it, prometheus-client 0.26, takes 14 MiB, which a
worker would have to lock, and 75 ms to import, in which no page is answered.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

from zramfs.core.device import Device
from zramfs.mount.measures import Measure
from zramfs.mount.paths import Paths
from zramfs.mount.safety import Safety

_GAUGES: Final = frozenset(
    {
        *("orig_data_size", "compr_data_size", "mem_used_total", "mem_limit"),
        *("mem_used_max", "same_pages", "huge_pages", "bd_count"),
    }
)
"""Columns that go up and down; the others only go up."""


def show_metrics(device: Device, paths: Paths, safety: Safety) -> str:
    """Return every statistic of a mount."""
    return "".join(f"{line}\n" for line in _lines(device, paths, safety))


def _lines(device: Device, paths: Paths, safety: Safety) -> Iterator[str]:
    yield from _metric("disksize", "gauge", {"": device.disksize})
    columns: dict[str, int] = {}
    for stat in (device.mm_stat(), device.io_stat(), device.bd_stat()):
        columns |= asdict(stat)
    columns |= asdict(device.block_stat())
    for name, value in columns.items():
        yield from _metric(name, "gauge" if name in _GAUGES else "counter", {"": value})
    requests = {f'path="{name}"': value for name, value in paths.stat.values().items()}
    yield from _metric("path", "counter", requests)
    yield from _metric("major_faults", "counter", {"": safety.faults.nr_faults})
    yield from _metric("growth_refused", "counter", {"": safety.reserve.nr_refused})
    yield from _metric("safety", "gauge", _held(safety.measures()))


def _held(measures: list[Measure]) -> dict[str, int]:
    return {f'measure="{m.name}"': int(m.refusal is None) for m in measures}


def _metric(name: str, kind: str, values: dict[str, int]) -> Iterator[str]:
    full = f"zramfs_{name}_total" if kind == "counter" else f"zramfs_{name}"
    yield f"# TYPE {full} {kind}"
    for labels, value in values.items():
        yield f"{full}{{{labels}}} {value}" if labels else f"{full} {value}"
