"""One mounted zramfs, as a test sees it."""

import itertools
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import pytest

from tests.checklogs import refusals, unannounced
from tests.integration import teardown
from tests.integration.commands import ZRAMFS, attempt, environment, zramfs
from tests.integration.stats import IoStat, MmStat

DATA_PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "always": (),
    "no_wb": ("--rw-page", "no_wb"),
    "off": ("--rw-page", "off"),
    "pyfuse3": ("--data-path", "pyfuse3"),
}
"""Every way in which a READ or WRITE can reach the device, with its options."""

LANE_PATHS: Final = ("always", "no_wb", "off")
"""Those with the lane, for which discards and LSEEK arrive."""

DEFAULT_PATHS: Final = ("always",)

PATH_MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "test_attributes": ("always", "pyfuse3"),  # relayed by the lane, or not
    "test_data": tuple(DATA_PATHS),
    "test_discard": LANE_PATHS,
    "test_requests": tuple(DATA_PATHS),
    "test_seek": LANE_PATHS,
    "test_swapfile": tuple(DATA_PATHS),
    "test_unprivileged": tuple(DATA_PATHS),
}
"""Modules of tests that run for more than the default, and for what."""

MIB: Final = 1 << 20
PAGE_SIZE: Final = 4096

_READY_S: Final = 30.0
_END_S: Final = 20.0
_SETTLE_S: Final = 20.0

_sockets: Final = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount that is ready, with what its daemon logs."""

    path: Path
    log: Path

    @property
    def swapfile(self) -> Path:
        """The file whose pages live compressed in memory."""
        return self.path / "swapfile"

    def attribute(self, name: str) -> Path:
        """The control file *name*."""
        return self.path / name

    def show(self, name: str) -> str:
        """Read an attribute, in one read(2)."""
        fd = os.open(self.attribute(name), os.O_RDONLY)
        try:
            return os.read(fd, PAGE_SIZE).decode()
        finally:
            os.close(fd)

    def store(self, name: str, text: str | bytes) -> int:
        """Write *text* to an attribute in one write(2), and return what it returns."""
        fd = os.open(self.attribute(name), os.O_WRONLY)
        try:
            return os.write(fd, text.encode() if isinstance(text, str) else text)
        finally:
            os.close(fd)

    def mm_stat(self) -> MmStat:
        """Return the use of memory."""
        return MmStat.parse(self.show("mm_stat"))

    def io_stat(self) -> IoStat:
        """Return failed requests and discarded pages."""
        return IoStat.parse(self.show("io_stat"))

    def rw_page_stat(self) -> dict[str, int]:
        """Return requests by the path that answered them."""
        lines = self.show("zramfs/rw_page_stat").splitlines()
        return {name: int(value) for name, value in map(str.split, lines)}

    @property
    def pid(self) -> int:
        """The process that serves the mount."""
        return int(self.show("zramfs/worker_pid"))

    @property
    def supervisor(self) -> int:
        """The process that starts another when that one dies."""
        return int(self.show("zramfs/supervisor_pid"))

    def kill(self) -> None:
        """Kill both, and wait until they are dead; the mount is, then."""
        pids = (self.supervisor, self.pid)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            teardown.wait_for_end(pid)

    def rss(self) -> int:
        """Return the resident set of that process, its pool included, in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "VmRSS":
                return int(value.removesuffix("kB")) << 10
        raise AssertionError("no VmRSS")

    def memfd_bytes(self) -> int:
        """Return the memory that the daemon's memfd holds."""
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            if entry.is_symlink() and str(entry.readlink()).startswith("/memfd:zramfs"):
                return entry.stat().st_blocks * 512
        raise AssertionError("no memfd")


MountFactory = Callable[..., AbstractContextManager[Mount]]
"""Mounts with options of ``zramfs mount``: ``mounted("--disksize", "64M")``."""


@contextmanager
def mounted(
    path: Path, log: Path, arguments: tuple[str, ...], announced: list[str]
) -> Iterator[Mount]:
    """Mount on *path* in the foreground; unmount, and ask whether it went well.

    What is taken down here without complaint, because the test has failed, is what
    `teardown.take_down` finds.
    """
    path.mkdir(exist_ok=True)
    with ExitStack() as stack:
        processes: list[subprocess.Popen[bytes]] = []
        stack.callback(_reap, processes)
        stack.callback(teardown.take_down, path)
        process = _start(path, log, arguments, processes)
        yield Mount(path=path, log=log)
        unmount(path)
        assert process.wait(_END_S) == 0, log.read_text()
        assert teardown.leftovers(path) == []
    assert_quiet(log, announced)


def unmount(path: Path) -> None:
    """Unmount in the quickest way: starting Python takes longer than a short test.

    `zramfs umount` has tests of its own, and does it if the mount is busy.
    """
    if attempt("umount", path).returncode:
        zramfs("umount", path)


def assert_quiet(log: Path, announced: Iterable[str] = ()) -> None:
    """Fail on what *log* has from WARNING up that is not *announced*."""
    lines = log.read_text().splitlines()
    assert unannounced(lines, [*refusals(), *announced]) == []


def _reap(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        process.wait(_END_S)


def _start(
    path: Path,
    log: Path,
    arguments: tuple[str, ...],
    processes: list[subprocess.Popen[bytes]],
) -> subprocess.Popen[bytes]:
    with ReadySocket() as ready, log.open("wb") as stderr:
        process = subprocess.Popen(
            [*ZRAMFS, "mount", path, "-f", *arguments],
            env=environment({"NOTIFY_SOCKET": ready.address, teardown.MARK: str(path)}),
            stderr=stderr,
            stdin=subprocess.DEVNULL,
        )
        processes.append(process)
        assert ready.wait_for(process), log.read_text()
    return process


class ReadySocket:
    """What a service manager listens on (sd_notify(3)).

    In the abstract namespace: a path below pytest's root can be too long.
    """

    def __init__(self) -> None:
        self.address = f"@{teardown.MARK}-{os.getpid()}-{next(_sockets)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait_for(self, process: subprocess.Popen[bytes]) -> bool:
        """Return whether READY=1 came before *process* ended or time was up."""
        fd = os.pidfd_open(process.pid)
        try:
            readable, _, _ = select.select(
                [self._socket.fileno(), fd], [], [], _READY_S
            )
        finally:
            os.close(fd)
        return self._socket.fileno() in readable and self.is_ready()

    def is_ready(self) -> bool:
        """Return whether READY=1 has come."""
        try:
            message = self._socket.recv(PAGE_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return b"READY=1" in message.splitlines()


def settled(value: Callable[[], int], most: float) -> int:
    """Return *value* when it is *most* or less, or after a while anyway.

    For what happens by itself: the daemon looks for waste once a second, the kernel
    discards in the background.
    """
    deadline = time.monotonic() + _SETTLE_S
    while (now := value()) > most and time.monotonic() < deadline:
        time.sleep(0.1)
    return now


@contextmanager
def refuses(number: int) -> Iterator[None]:
    """Expect the system call within to fail with errno *number*."""
    with pytest.raises(OSError, match=rf"^\[Errno {number}\]"):
        yield
