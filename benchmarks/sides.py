"""The sides: what is measured beside what.

A side is a file or device under load. Each is served from a directory of its own,
and whatever stands on that directory is taken down at the end, in the order in
which it can be, the ruder ways last.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.commands import (
    ZRAMFS,
    BenchError,
    end,
    find,
    run,
    why_missing,
)
from tests.integration import teardown
from tests.integration.capabilities import missing
from tests.integration.commands import ROOT, environment
from tests.integration.kernel_zram import kernel_zram

PEERS: Final = ROOT.parent / "shared" / "peers"
"""Where ramfile.c is looked for."""

_READY_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What serves one side, or several of its modes.

    *serve* takes a directory and a size in bytes, and yields the file to load.
    """

    name: str
    why_not: Callable[[], str | None]
    """Return why it cannot be had here, None if it can."""
    serve: Callable[[Path, int], AbstractContextManager[Path]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One column of the table."""

    name: str
    doc: str
    server: Server
    rw_page: str | None = None
    """The mode of the lane, which several sides share."""

    def select(self, target: Path) -> None:
        """Make *target* behave as this side."""
        if self.rw_page:
            (target.parent / "zramfs" / "rw_page").write_text(self.rw_page)


@contextmanager
def zramfs(place: Path, size: int, *, data_path: str) -> Iterator[Path]:
    """Mount a zramfs on a directory in *place*; yield its swapfile."""
    mountpoint = place / "mnt"
    mountpoint.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(teardown.take_down, place)
        run(
            *(*ZRAMFS, "mount", mountpoint, "--disksize", str(size)),
            *("--data-path", data_path, "--log-file", place / "log"),
            extra={teardown.MARK: str(place)},
        )
        yield mountpoint / "swapfile"


@contextmanager
def _foreground(place: Path, mountpoint: Path, *command: str | Path) -> Iterator[None]:
    """Run a server that stays in the foreground until it is unmounted."""
    process = subprocess.Popen(
        [str(word) for word in command],
        env=environment({teardown.MARK: str(place)}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        with ExitStack() as stack:
            stack.callback(teardown.take_down, place)
            _wait_mounted(process, mountpoint)
            yield
    finally:
        end(process)


def _wait_mounted(process: subprocess.Popen[str], mountpoint: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while not teardown.mounts_below(mountpoint):
        if process.poll() is not None:
            said = process.communicate()[1].strip()
            raise BenchError(f"{mountpoint} was not mounted: {said}")
        if time.monotonic() > deadline:
            raise BenchError(f"{mountpoint} was not mounted in {_READY_S:.0f} s")
        time.sleep(0.02)


@contextmanager
def _ramfile(place: Path, size: int, *, source: Path) -> Iterator[Path]:
    mountpoint = place / "mnt"
    mountpoint.mkdir(parents=True)
    program = place / "ramfile"
    flags = run("pkg-config", "--cflags", "--libs", "fuse3").split()
    run("cc", "-O2", "-o", program, source, *flags)
    with _foreground(place, mountpoint, program, mountpoint, str(size >> 20)):
        yield mountpoint / "swapfile"


def _why_no_ramfile(source: Path) -> str | None:
    if not source.exists():
        return f"{source} is not there"
    if os.geteuid() != 0 and not find("fusermount3"):
        return "fusermount3 is missing: apt-get install fuse3"
    return (
        why_missing("cc", "gcc")
        or why_missing("pkg-config", "pkg-config")
        or missing("fuse")
    )


@contextmanager
def _nbdfuse(place: Path, size: int) -> Iterator[Path]:
    mountpoint = place / "mnt"
    mountpoint.mkdir(parents=True)
    nbdkit = ("nbdkit", "--exit-with-parent", "-s", "memory", str(size))
    with _foreground(
        *(place, mountpoint),
        *("nbdfuse", f"{mountpoint}/", "--command", *nbdkit, "allocator=zstd"),
    ):
        yield mountpoint / "nbd"


def _why_no_nbdfuse() -> str | None:
    return (
        why_missing("nbdkit", "nbdkit")
        or why_missing("nbdfuse", "libnbd-bin")
        or missing("fuse")
    )


@contextmanager
def _zram(_place: Path, size: int) -> Iterator[Path]:
    with kernel_zram(str(size)) as zram:
        yield zram.device


def why_no_zram() -> str | None:
    """Return why the kernel's zram cannot be had, None if it can."""
    return missing("kernel-zram")


def make_sides(peers: Path) -> dict[str, Side]:
    """Return all sides by name, in the order of the table."""
    fuse = partial(missing, "fuse")
    plain = Server(
        name="pyfuse3", why_not=fuse, serve=partial(zramfs, data_path="pyfuse3")
    )
    lane = Server(name="lane", why_not=fuse, serve=partial(zramfs, data_path="lane"))
    source = peers / "ramfile.c"
    ramfile = Server(
        name="ramfile",
        why_not=partial(_why_no_ramfile, source),
        serve=partial(_ramfile, source=source),
    )
    nbdfuse = Server(name="nbdfuse", why_not=_why_no_nbdfuse, serve=_nbdfuse)
    zram = Server(name="zram", why_not=why_no_zram, serve=_zram)
    sides = (
        Side(
            name="pyfuse3",
            doc="zramfs without the lane: pyfuse3's own read and write handlers",
            server=plain,
        ),
        Side(
            name="off",
            doc="zramfs, rw_page off: every request a trio task",
            server=lane,
            rw_page="off",
        ),
        Side(
            name="always",
            doc="zramfs, rw_page always: requests answered in place",
            server=lane,
            rw_page="always",
        ),
        Side(
            name="ramfile",
            doc="a C libfuse server, one thread, on an uncompressed file in memory",
            server=ramfile,
        ),
        Side(
            name="nbdfuse",
            doc="nbdkit's memory plugin with zstd, through nbdfuse",
            server=nbdfuse,
        ),
        Side(name="zram", doc="the kernel's zram with lz4", server=zram),
    )
    return {side.name: side for side in sides}
