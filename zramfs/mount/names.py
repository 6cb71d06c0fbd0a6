"""Names in a mount that whoever is outside of it looks for, too."""

from typing import Final

SWAPFILE: Final = b"swapfile"
OWN_DIRECTORY: Final = b"zramfs"
"""The directory of the control files that the kernel's zram does not have."""
