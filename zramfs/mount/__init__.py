"""The mount: trio, FUSE, and the process that serves them."""
