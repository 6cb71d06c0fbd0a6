"""Taking down whatever a test, or a test run that was killed, has left.

A daemon that does not answer must not hang the machine: the gentle way first, in
the order swapoff, losetup -d, umount, umount -l, and last the file that aborts the
FUSE connection. Nothing here touches a path below a mountpoint, which hangs when
the daemon does; what there is, the kernel tells: mountinfo, sysfs, procfs.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.integration.commands import ZRAMFS, environment

MARK: Final = "ZRAMFS_TEST"
"""Environment variable of everything that a mount fixture starts: its directory."""

CGROUP_PREFIX: Final = "zramfs-test-"

_CONNECTIONS: Final = Path("/sys/fs/fuse/connections")

STEP_S: Final = 20.0
"""After so long a step is given up and the next, ruder one is taken."""


class MountLine:
    """One line of /proc/self/mountinfo."""

    def __init__(self, line: bytes) -> None:
        fields, _, rest = line.partition(b" - ")
        _, _, device, _, path = fields.split(b" ")[:5]
        unescaped = path.decode("unicode_escape").encode("latin-1")
        self.path = Path(os.fsdecode(unescaped))
        self.fs_type = rest.split(b" ")[0].decode()
        self.connection = device.decode().partition(":")[2]
        """Name of its directory in fusectl, if it is FUSE."""


def mounts_below(directory: Path) -> list[MountLine]:
    """Return what is mounted on or below *directory*, the last first."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    mounts = [MountLine(line) for line in lines]
    return [mount for mount in reversed(mounts) if mount.path.is_relative_to(directory)]


def loops_below(directory: Path) -> list[Path]:
    """Return the loop devices whose file is below *directory*."""
    loops = []
    for entry in sorted(Path("/sys/block").glob("loop*/loop/backing_file")):
        with suppress(OSError):  # detached just now
            text = entry.read_text().rstrip("\n")
            if Path(text).is_relative_to(directory):
                loops.append(Path("/dev", entry.parents[1].name))
    return loops


def swaps() -> dict[Path, int]:
    """Return the bytes in use on each swap device."""
    lines = Path("/proc/swaps").read_text().splitlines()[1:]
    columns = (line.split() for line in lines)
    return {Path(column[0]): int(column[3]) << 10 for column in columns}


def processes_of(directory: Path) -> Iterator[int]:
    """Yield the processes that were started for *directory* or below, not this one.

    By the mark in their environment, which daemons inherit.
    """
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone, or somebody else's
            for variable in (entry / "environ").read_bytes().split(b"\0"):
                name, _, value = variable.partition(b"=")
                path = Path(os.fsdecode(value))
                if name == MARK.encode() and path.is_relative_to(directory):
                    yield int(entry.name)


def is_running(pid: int) -> bool:
    """Return whether *pid* is there and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(") ")[2][0] not in "ZX"


def wait_for_end(pid: int, timeout_s: float = STEP_S) -> bool:
    """Wait until the process *pid*, child or not, has ended; return whether it has."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        readable, _, _ = select.select([fd], [], [], timeout_s)
    finally:
        os.close(fd)
    return bool(readable)


def wait_until(holds: Callable[[], bool], timeout_s: float = STEP_S) -> bool:
    """Wait until what the kernel tells nobody about *holds*; return whether it does."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


def _try(*command: str | Path, step_s: float = STEP_S) -> bool:
    """Run *command* and return whether it succeeded in time."""
    process = subprocess.Popen(
        command,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return process.wait(step_s) == 0
    except subprocess.TimeoutExpired:
        # Not waited for: it may be past killing until the connection is aborted.
        process.kill()
        _abandoned.append(process)
        return False


_abandoned: Final[list[subprocess.Popen[bytes]]] = []


def swap_off(device: Path, step_s: float = STEP_S) -> None:
    """Swap off *device* if it is swapped on."""
    if device in swaps():
        _try("swapoff", device, step_s=step_s)


def detach(loop: Path, step_s: float = STEP_S) -> bool:
    """Detach *loop* and return whether it is; udev may have it open for a moment."""
    backing_file = Path("/sys/block", loop.name, "loop/backing_file")
    return _try("losetup", "--detach", loop, step_s=step_s) and wait_until(
        lambda: not backing_file.exists(), step_s
    )


def control(connection: str) -> Path:
    """Return the directory that controls a FUSE connection; it may have ended."""
    if not any(_CONNECTIONS.iterdir()):
        _try("mount", "-t", "fusectl", "none", _CONNECTIONS)
    return _CONNECTIONS / connection


def abort(connection: str) -> None:
    """Make every request on a FUSE connection fail, now and later."""
    with suppress(OSError):  # it has ended meanwhile
        (control(connection) / "abort").write_text("1")


def abort_below(directory: Path) -> None:
    """Abort every FUSE connection mounted on or below *directory*."""
    for mount in mounts_below(directory):
        if mount.fs_type.startswith("fuse."):
            abort(mount.connection)


def _unmount(mount: MountLine, step_s: float) -> None:
    is_ours = mount.fs_type == "fuse.zramfs"
    gentle = (*ZRAMFS, "umount") if is_ours else ("umount",)
    if _try(*gentle, mount.path, step_s=step_s):
        return
    lazy = ("umount", "--lazy") if os.geteuid() == 0 else ("fusermount3", "-u", "-z")
    unmounted = _try(*lazy, mount.path, step_s=step_s)
    if mount.fs_type.startswith("fuse."):
        abort(mount.connection)
    if not unmounted:  # it may have hung on the connection
        _try(*lazy, mount.path, step_s=step_s)


def take_down(directory: Path, step_s: float = STEP_S) -> None:
    """Leave nothing mounted, attached or running that stands on *directory*."""
    for mount in mounts_below(directory):
        if mount.fs_type != "fuse.zramfs":  # it stands on a loop device of ours
            _unmount(mount, step_s)
    for loop in loops_below(directory):
        swap_off(loop, step_s)
        detach(loop, step_s)
    for mount in mounts_below(directory):
        _unmount(mount, step_s)
    for pid in processes_of(directory):
        if not wait_for_end(pid, step_s):
            break
    while left := [*filter(is_running, processes_of(directory))]:
        _kill(left, step_s)


def _kill(pids: list[int], step_s: float) -> None:
    """Kill all at once: a supervisor that is left starts another worker."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        wait_for_end(pid, step_s)


def leftovers(directory: Path) -> list[str]:
    """Return, in words, what is mounted, attached or running on *directory*."""
    return [
        *(f"mounted: {mount.path}" for mount in mounts_below(directory)),
        *(f"attached: {loop}" for loop in loops_below(directory)),
        *(f"running: {pid}" for pid in processes_of(directory) if is_running(pid)),
    ]


def remove_cgroup(group: Path) -> None:
    """Kill what is in *group*, then remove it."""
    if not group.exists():
        return
    for pid in map(int, (group / "cgroup.procs").read_text().split()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_for_end(pid)
    # A task that has ended leaves it a moment later.
    wait_until(lambda: _is_removed(group))


def _is_removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return False
    return True


def sweep(root: Path) -> None:
    """Take down what runs that are over have left below pytest's *root*.

    A run that is still going has its pid in the lock file of its directory.
    """
    for run in sorted(root.glob("pytest-*")):
        if not run.is_symlink() and not _is_in_use(run):
            take_down(run)
    for group in Path("/sys/fs/cgroup").glob(f"**/{CGROUP_PREFIX}*"):
        owner = int(group.name.removeprefix(CGROUP_PREFIX).partition("-")[0])
        if not is_running(owner):
            remove_cgroup(group)


def _is_in_use(run: Path) -> bool:
    try:
        owner = int((run / ".lock").read_text())
    except (OSError, ValueError):
        return False
    return owner != os.getpid() and is_running(owner)
