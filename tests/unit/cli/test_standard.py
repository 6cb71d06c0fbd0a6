"""zramfs.cli.standard: descriptors 0 to 2 are open, whatever the caller closed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from zramfs.cli.standard import open_standard_files


@pytest.fixture
def saved() -> Iterator[None]:
    """Standard files that are as they were when the test has closed some."""
    copies = [os.dup(fd) for fd in range(3)]
    yield
    for fd, copy in enumerate(copies):
        os.dup2(copy, fd)
        os.close(copy)


def open_files() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@pytest.mark.usefixtures("saved")
@pytest.mark.parametrize("closed", [(0,), (2,), (0, 2), (0, 1, 2)], ids=str)
def test_what_is_closed_is_opened_on_nothing(closed: tuple[int, ...]) -> None:
    for fd in closed:
        os.close(fd)

    open_standard_files()

    paths = {str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in closed}
    assert paths == {"/dev/null"}
    assert all(os.get_inheritable(fd) for fd in closed)


@pytest.mark.usefixtures("saved")
def test_nothing_else_stays_open() -> None:
    before = open_files()

    os.close(0)
    open_standard_files()

    assert open_files() == before


def test_what_is_open_stays_as_it_is() -> None:
    before = [os.fstat(fd).st_ino for fd in range(3)]

    open_standard_files()

    assert [os.fstat(fd).st_ino for fd in range(3)] == before
