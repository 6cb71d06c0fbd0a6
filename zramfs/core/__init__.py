"""The device: synchronous and pure. No await, no FUSE, no files, no clock."""
