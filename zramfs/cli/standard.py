"""Standard input, output and error: open, whatever the caller closed."""

import os


def open_standard_files() -> None:
    """Open /dev/null for each of the descriptors 0 to 2 that is closed.

    Otherwise the next file that is opened would take its number, and with it what is
    written to stderr.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)  # noqa: FBT003  # positional only
    os.close(fd)
