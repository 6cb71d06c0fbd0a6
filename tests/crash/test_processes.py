"""The two processes of a mount: either dies, both die, workers die for ever."""

import errno
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import zramfs as package
from tests.crash.killing import RESTARTED, Killer, new_seed
from tests.integration import teardown
from tests.integration.commands import ZRAMFS, attempt, refused, run, zramfs
from tests.integration.corpus import text
from tests.integration.files import opened
from tests.integration.mounts import PAGE_SIZE, Mount, assert_quiet, refuses

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
    pytest.mark.timeout(60),
]


GONE = f"Errno ({errno.ENOTCONN}|{errno.ECONNABORTED})"
"""Of a request that came after the connection had ended, or waited when it did."""


@pytest.fixture
def mount(
    place: Path, data_path: tuple[str, ...], announced: list[str]
) -> Iterator[Mount]:
    """A mount in the background; it is for the test to unmount."""
    path = place / "mnt"
    path.mkdir()
    log = place / "log"
    zramfs("mount", path, "--disksize", "64M", "--log-file", log, *data_path)
    yield Mount(path=path, log=log)
    assert teardown.leftovers(place) == []
    assert_quiet(log, announced)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    assert teardown.wait_for_end(pid)


def test_a_worker_goes_on_without_its_supervisor(
    mount: Mount, announced: list[str]
) -> None:
    announced.append("WARNING: the supervisor has died: nobody takes over")
    with opened(mount.swapfile) as fd:
        os.pwrite(fd, text(PAGE_SIZE), 0)
        kill(mount.supervisor)
        heard = teardown.wait_until(lambda: not mount.supervisor)
        found = os.pread(fd, PAGE_SIZE, 0)
    safety = mount.attribute("zramfs/swap_safety").read_text()
    worker = mount.pid
    zramfs("umount", mount.path)

    assert "supervisor: refused (it has died)" in safety
    assert heard
    assert found == text(PAGE_SIZE)
    assert not teardown.is_running(worker)
    assert "the supervisor has died" in mount.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_alone_unmounts_when_it_is_told_to_end(
    mount: Mount, announced: list[str], number: signal.Signals
) -> None:
    announced.append("the supervisor has died")
    kill(mount.supervisor)
    worker = mount.pid
    os.kill(worker, number)

    assert teardown.wait_for_end(worker)


def test_the_death_of_both_is_an_error_not_a_hang(
    mount: Mount, announced: list[str]
) -> None:
    announced.append("the supervisor has died")  # if the worker lived to say so
    with opened(mount.swapfile) as fd:
        mount.kill()
        with pytest.raises(OSError, match=GONE):
            os.pread(fd, PAGE_SIZE, 0)
    sentence = attempt(*ZRAMFS, "status", mount.path).stderr
    zramfs("umount", mount.path)
    zramfs("mount", mount.path, "--disksize", "1M")
    shown = mount.show("disksize")
    zramfs("umount", mount.path)

    assert f"{mount.path} is dead" in sentence
    assert shown == "1048576\n"


def test_open_files_stay_open(mount: Mount, announced: list[str]) -> None:
    announced.append(RESTARTED)
    with opened(mount.swapfile) as data, opened(mount.attribute("disksize")) as control:
        os.pwrite(data, text(PAGE_SIZE), PAGE_SIZE)
        before = os.pread(control, PAGE_SIZE, 0)
        kill(mount.pid)
        found = os.pread(data, PAGE_SIZE, PAGE_SIZE)
        after = [os.pread(control, PAGE_SIZE, offset) for offset in (0, 4)]
    zramfs("umount", mount.path)

    assert found == text(PAGE_SIZE)
    assert before == b"67108864\n"
    assert after == [before, before[4:]]


def test_openers_are_counted_exactly(mount: Mount, announced: list[str]) -> None:
    announced.append(RESTARTED)
    killer = Killer(mount, new_seed())
    with opened(mount.swapfile):
        with killer.killing():
            for _ in range(400):
                with opened(mount.swapfile), opened(mount.swapfile):
                    pass
        with refuses(errno.EBUSY):
            mount.store("reset", "1")
    mount.store("reset", "1")
    shown = mount.show("initstate")
    zramfs("umount", mount.path)

    assert shown == "0\n", f"seed {killer.seed}"


@pytest.mark.requires("root")
@pytest.mark.parametrize("end", [signal.SIGTERM, None], ids=["SIGTERM", "umount"])
@pytest.mark.parametrize("after_s", [None, 0.0, 0.004, 0.02])
def test_a_worker_killed_while_the_mount_ends_keeps_it_from_nothing(
    mount: Mount,
    announced: list[str],
    end: signal.Signals | None,
    after_s: float | None,
) -> None:
    """None: it is dead before."""
    announced.append(RESTARTED)
    supervisor = mount.supervisor
    worker = os.pidfd_open(mount.pid)
    if after_s is None:
        signal.pidfd_send_signal(worker, signal.SIGKILL)
    if end:
        os.kill(supervisor, end)
    else:
        run("umount", "--lazy", mount.path)
    time.sleep(after_s or 0)
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(worker, signal.SIGKILL)
    os.close(worker)

    assert teardown.wait_for_end(supervisor)


def copied(place: Path) -> Path:
    """Return where a copy of the package is."""
    source = Path(package.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, place / "copy" / "zramfs", ignore=ignored)
    return place / "copy"


BROKEN = 'raise RuntimeError("broken")\n'


def test_workers_that_die_for_ever_are_given_up(
    place: Path, announced: list[str]
) -> None:
    announced.append(RESTARTED)
    announced.append("WARNING: worker .* ended with status 1: starting another")
    announced.append("CRITICAL: worker .* ended with status 1, as 5 before it did")
    path = place / "mnt"
    path.mkdir()
    log = place / "log"
    mount = Mount(path=path, log=log)
    copy = copied(place)
    run(
        *(sys.executable, "-P", "-m", "zramfs", "mount", path),
        *("--disksize", "64M", "--log-file", log),
        extra={"PYTHONPATH": str(copy)},
    )
    supervisor = mount.supervisor
    (copy / "zramfs/mount/bio.py").write_text(BROKEN)
    with opened(mount.swapfile) as fd:
        os.kill(mount.pid, signal.SIGKILL)
        with pytest.raises(OSError, match=GONE):
            os.pread(fd, PAGE_SIZE, 0)
    ended = teardown.wait_for_end(supervisor)
    shown = attempt(*ZRAMFS, "status", path)
    zramfs("umount", path)
    sentence = refused("umount", path)

    assert ended
    assert shown.returncode == 1
    assert shown.stderr == (
        f"zramfs: {path} is dead, with all that it held: "
        f"'zramfs umount {path}' removes it\n"
    )
    assert sentence == f"zramfs: no zramfs is mounted on {path}"
    assert f"'zramfs umount {path}' removes it" in log.read_text()
    assert_quiet(log, announced)


DIES_WITH_AN_ANSWER = """
_copy = Relay._copy

def _die(self, message):
    try:
        os.unlink({mark!r})
    except FileNotFoundError:
        _copy(self, message)
    else:
        os.kill(os.getpid(), 9)

Relay._copy = _die
"""


def test_a_disksize_that_was_set_is_no_error(place: Path, announced: list[str]) -> None:
    announced.append(RESTARTED)
    path, log, mark = place / "mnt", place / "log", place / "mark"
    path.mkdir()
    copy = copied(place)
    with (copy / "zramfs/mount/relay.py").open("a") as source:
        source.write(DIES_WITH_AN_ANSWER.format(mark=str(mark)))
    run(
        *(sys.executable, "-P", "-m", "zramfs", "mount", path, "--log-file", log),
        extra={"PYTHONPATH": str(copy)},
    )
    mount = Mount(path=path, log=log)
    with opened(mount.attribute("disksize"), os.O_WRONLY) as fd:
        mark.touch()
        taken = os.write(fd, b"64M\n")
        with refuses(errno.EBUSY):
            os.write(fd, b"64M\n")
    shown = mount.show("disksize")
    zramfs("umount", path)

    assert not mark.exists()
    assert (taken, shown) == (4, "67108864\n")
    assert_quiet(log, announced)


HANGS = """
async def _hang(*_):
    await trio.sleep_forever()

Bio.store = _hang
"""


@pytest.mark.requires("root")
@pytest.mark.parametrize("served_by", ["lane", "pyfuse3"])
def test_a_store_that_hangs_does_not_keep_a_mount_from_its_end(
    place: Path, served_by: str
) -> None:
    path, log = place / "mnt", place / "log"
    path.mkdir()
    copy = copied(place)
    with (copy / "zramfs/mount/bio.py").open("a") as source:
        source.write(HANGS)
    run(
        *(sys.executable, "-P", "-m", "zramfs", "mount", path, "--log-file", log),
        *("--disksize", "1M", "--data-path", served_by),
        extra={"PYTHONPATH": str(copy)},
    )
    mount = Mount(path=path, log=log)
    supervisor = mount.supervisor
    failures: list[OSError] = []

    def store() -> None:
        try:
            mount.store("compact", "1")
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=store)
    thread.start()
    connection = teardown.mounts_below(path)[0].connection
    waiting = teardown.control(connection) / "waiting"
    assert teardown.wait_until(lambda: waiting.read_text() != "0\n")
    os.kill(supervisor, signal.SIGTERM)
    ended = teardown.wait_for_end(supervisor)
    teardown.abort(connection)
    thread.join(10)

    assert ended
    numbers = [error.errno for error in failures]
    assert numbers in ([errno.ENOTCONN], [errno.ECONNABORTED])
    assert_quiet(log)


def test_without_a_lane_a_death_is_the_end(place: Path, announced: list[str]) -> None:
    announced.append("CRITICAL: worker .* was killed by SIGKILL, .* is lost")
    path = place / "mnt"
    path.mkdir()
    log = place / "log"
    options = ("--disksize", "64M", "--log-file", log, "--data-path", "pyfuse3")
    zramfs("mount", path, *options)
    mount = Mount(path=path, log=log)
    with opened(mount.swapfile) as fd:
        os.kill(mount.pid, signal.SIGKILL)
        with pytest.raises(OSError, match=GONE):
            os.pread(fd, PAGE_SIZE, 0)
    zramfs("umount", path)

    assert_quiet(log, announced)


def test_no_descriptor_is_inherited(mount: Mount) -> None:
    """Nobody but these two holds the connection: otherwise it would outlive both."""
    pids = (mount.supervisor, mount.pid)
    flags = [
        line
        for pid in pids
        for fd in Path(f"/proc/{pid}/fd").iterdir()
        if str(fd.readlink()) not in ("/dev/null", "pipe")
        for line in Path(f"/proc/{pid}/fdinfo/{fd.name}").read_text().splitlines()
        if line.startswith("flags:")
    ]
    zramfs("umount", mount.path)

    assert flags
    assert [line for line in flags if not int(line.split()[1], 8) & os.O_CLOEXEC] == []


def test_the_supervisor_is_small(mount: Mount) -> None:
    status = Path(f"/proc/{mount.supervisor}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    zramfs("umount", mount.path)

    assert int(fields["VmRSS"].removesuffix("kB")) < 24 << 10
    assert int(fields["Threads"]) == 1
