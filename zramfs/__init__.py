"""zramfs: a zram-style swapfile as a FUSE filesystem."""

__version__ = "0.1.0"
