"""The control files under ``zramfs/``: what the kernel's zram does not have."""

import os
from typing import Final

from zramfs.core.attributes import Attribute

CONTROL_FILES: Final = (
    Attribute(
        name="worker_pid",
        show=lambda _: f"{os.getpid()}\n",
        doc="process that serves this mount",
    ),
)
