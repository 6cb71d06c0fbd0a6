"""The control files under ``zramfs/``: what the kernel's zram does not have."""

import os
from collections.abc import Callable

from zramfs.core.attributes import Attribute
from zramfs.core.block_state import read_block_state
from zramfs.core.device import Change
from zramfs.errors import ModeNotSupported
from zramfs.mount.metrics import show_metrics
from zramfs.mount.paths import Paths, RwPage, parse_rw_page
from zramfs.mount.safety import Safety
from zramfs.mount.spill_stat import show_spill


def control_files(
    paths: Paths,
    *,
    lane: bool,
    safety: Safety | None = None,
    supervisor_pid: Callable[[], int] = os.getppid,
) -> tuple[Attribute, ...]:
    """Return the rows for a mount whose requests take *paths*.

    Without the *lane* there is but one mode, `RwPage.OFF`. Without its *safety* they
    are rows for a command line or a table: nobody shows them. *supervisor_pid* tells
    who restarts this process, 0 if nobody does.
    """

    def rw_page(text: str) -> Change:
        mode = parse_rw_page(text)
        if mode is not RwPage.OFF and not lane:
            raise ModeNotSupported(f"{mode.value}: this mount has no synchronous path")

        return lambda _: paths.select(mode)

    return (
        Attribute(
            name="block_state",
            lines=read_block_state,
            doc="a line for each stored page, in the format of debugfs",
        ),
        Attribute(
            name="rw_page",
            show=lambda _: paths.show(),
            parse=rw_page,
            option="MODE",
            doc="whether pages in memory are answered synchronously: "
            "always, no_wb (and are never written back then), off",
        ),
        Attribute(
            name="rw_page_stat",
            show=paths.show_stat,
            doc="requests by the path that answered them, one 'name value' a line",
        ),
        Attribute(
            name="metrics",
            show=lambda device: show_metrics(device, paths, safety) if safety else "",
            doc="all statistics, in the text format of Prometheus",
        ),
        Attribute(
            name="spill_stat",
            show=show_spill,
            doc="how the backing device does: pages that it lost, by the reason",
        ),
        Attribute(
            name="swap_safety",
            show=lambda _: safety.show() if safety else "",
            doc="what keeps a swap on it from hanging, a line for each measure",
        ),
        Attribute(
            name="worker_pid",
            show=lambda _: f"{os.getpid()}\n",
            doc="process that serves this mount",
        ),
        Attribute(
            name="supervisor_pid",
            show=lambda _: f"{supervisor_pid()}\n",
            doc="process that starts another when that one dies; 0 if it is dead",
        ),
    )
