"""The daemon's life: it starts, says so, serves, and ends when it is told."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LoopFactory
from tests.integration import teardown
from tests.integration.commands import (
    ZRAMFS,
    attempt,
    environment,
    refused,
    run,
    zramfs,
)
from tests.integration.corpus import noise, text
from tests.integration.mounts import (
    PAGE_SIZE,
    Mount,
    MountFactory,
    ReadySocket,
    assert_quiet,
    refuses,
)

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
]


@pytest.fixture
def background(
    place: Path, data_path: tuple[str, ...], announced: list[str]
) -> Iterator[Mount]:
    """Mount without -f; it is for the test to unmount."""
    path = place / "mnt"
    path.mkdir()
    log = place / "log"
    zramfs("mount", path, "--disksize", "64M", "--log-file", log, *data_path)
    yield Mount(path=path, log=log)
    assert teardown.leftovers(place) == []
    assert_quiet(log, announced)


def test_mount_returns_when_the_mount_is_ready(background: Mount) -> None:
    shown = background.show("initstate")
    zramfs("umount", background.path)

    assert shown == "1\n"


def test_the_background_daemon_lives_in_no_session_and_no_directory_of_ours(
    background: Mount,
) -> None:
    session = os.getsid(background.pid)
    process = Path("/proc", str(background.pid))
    standard = {str((process / "fd" / fd).readlink()) for fd in "012"}
    directory = (process / "cwd").readlink()
    zramfs("umount", background.path)

    assert session != os.getsid(0)
    assert (standard, directory) == ({"/dev/null"}, Path("/"))


@pytest.mark.parametrize("foreground", [["-f"], []], ids=["foreground", "background"])
def test_the_service_manager_is_told(place: Path, foreground: list[str]) -> None:
    path = place / "mnt"
    path.mkdir()

    with ReadySocket() as ready:
        process = subprocess.Popen(
            [*ZRAMFS, "mount", path, "--log-file", place / "log", *foreground],
            env=environment({"NOTIFY_SOCKET": ready.address}),
        )
        if not foreground:
            process.wait(30)
        told = ready.wait_for(process) if foreground else ready.is_ready()
        zramfs("umount", path)
        status = process.wait(30)

    assert (told, status) == (True, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("foreground", [["-f"], []], ids=["foreground", "background"])
@pytest.mark.parametrize("whom", ["worker", "supervisor"])
def test_a_signal_ends_it_cleanly(
    place: Path, number: signal.Signals, foreground: list[str], whom: str
) -> None:
    path = place / "mnt"
    path.mkdir()
    log = place / "log"

    with ReadySocket() as ready:
        process = subprocess.Popen(
            [*ZRAMFS, "mount", path, "--log-file", log, *foreground],
            env=environment({"NOTIFY_SOCKET": ready.address}),
        )
        if foreground:
            assert ready.wait_for(process)
        else:
            assert process.wait(30) == 0
    mount = Mount(path=path, log=log)
    pid, supervisor = mount.pid, mount.supervisor
    os.kill(pid if whom == "worker" else supervisor, number)
    ended = teardown.wait_for_end(pid) and teardown.wait_for_end(supervisor)
    status = process.wait(30)

    assert (ended, status) == (True, 0)
    assert teardown.leftovers(path) == []
    assert_quiet(log)


def test_a_signal_ends_it_while_files_are_open(background: Mount) -> None:
    pid = background.supervisor
    fd = os.open(background.swapfile, os.O_RDWR)
    try:
        os.pwrite(fd, text(PAGE_SIZE), 0)
        os.kill(pid, signal.SIGTERM)
        ended = teardown.wait_for_end(pid)
        with refuses(errno.ENOTCONN):
            os.pread(fd, PAGE_SIZE, 0)
    finally:
        os.close(fd)

    assert ended


@pytest.mark.requires("loop")
def test_a_signal_is_refused_while_a_loop_device_is_attached(
    background: Mount, loop: LoopFactory, announced: list[str]
) -> None:
    announced.append("WARNING: SIGTERM ignored: .* is attached")

    with loop(background.swapfile):
        os.kill(background.pid, signal.SIGTERM)
        shown = background.show("initstate")
    zramfs("umount", background.path)

    assert shown == "1\n"


def test_it_mounts_with_all_standard_files_closed(place: Path) -> None:
    path = place / "mnt"
    path.mkdir()

    run("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *ZRAMFS, "mount", path)
    shown = Mount(path=path, log=place / "log").show("initstate")
    zramfs("umount", path)

    assert shown == "0\n"


def test_umount_8_ends_it(background: Mount) -> None:
    pid = background.supervisor

    run("umount", background.path)

    assert teardown.wait_for_end(pid)


def test_umount_refuses_while_a_file_is_open(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount:
        with mount.swapfile.open("rb", buffering=0):
            sentence = refused("umount", mount.path)
        shown = mount.show("initstate")

    assert "busy" in sentence
    assert shown == "1\n"


def test_umount_removes_a_dead_mount(background: Mount, announced: list[str]) -> None:
    announced.append("the supervisor has died")  # if the worker lived to say so
    background.kill()

    sentence = refused("mount", background.path)
    zramfs("umount", background.path)

    assert "umount" in sentence


def test_status_of_a_dead_mount_is_refused(
    background: Mount, announced: list[str]
) -> None:
    announced.append("the supervisor has died")  # if the worker lived to say so
    background.kill()

    done = attempt(*ZRAMFS, "status", background.path)
    zramfs("umount", background.path)

    assert done.returncode == 1
    assert f"zramfs: {background.path} is dead" in done.stderr


def test_umount_of_nothing_is_refused(place: Path) -> None:
    sentence = refused("umount", place)

    assert str(place) in sentence


STATUS_COLUMNS = (
    *("mountpoint", "pid", "disksize", "comp_algorithm"),
    *("orig_data_size", "compr_data_size", "mem_used_total", "mem_limit"),
    *("mem_used_max", "same_pages", "pages_compacted", "huge_pages"),
    *("huge_pages_since", "failed_reads", "failed_writes", "invalid_io"),
    *("notify_free", "backing_dev", "bd_count", "bd_reads", "bd_writes"),
    *("spill_read_errors", "spill_short_reads", "spill_corrupt_blocks"),
    "spill_write_errors",
)


def test_status_shows_every_column(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M", "--mem-limit", "8M") as mount:
        mount.swapfile.write_bytes(text(10 * PAGE_SIZE))
        rows = json.loads(zramfs("status", "--json", mount.path))
        memory = mount.mm_stat()._asdict()
        requests = mount.io_stat()._asdict()
        pid = mount.pid
        readable = zramfs("status", mount.path)

    assert rows == [
        {
            "mountpoint": str(mount.path),
            "pid": pid,
            "disksize": 64 << 20,
            "comp_algorithm": "lz4",
            **memory,
            **requests,
            "backing_dev": "none",
            **dict.fromkeys(STATUS_COLUMNS[-7:], 0),
        }
    ]
    assert set(rows[0]) == set(STATUS_COLUMNS)
    assert [name for name in STATUS_COLUMNS if name not in readable] == []


def test_status_shows_all_mounts(mounted: MountFactory) -> None:
    with mounted("--disksize", "1M") as one, mounted("--disksize", "2M") as other:
        # Mounts of others may be out of reach, which is complained about.
        rows = json.loads(attempt(*ZRAMFS, "status", "--json").stdout)

    sizes = {row["mountpoint"]: row["disksize"] for row in rows}
    assert sizes[str(one.path)] == 1 << 20
    assert sizes[str(other.path)] == 2 << 20


def test_status_of_what_is_not_mounted_is_refused(place: Path) -> None:
    done = attempt(*ZRAMFS, "status", place)

    assert done.returncode == 1
    assert str(place) in done.stderr


def test_top_prints_a_line_at_each_look(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount:
        mount.swapfile.write_bytes(noise(PAGE_SIZE))
        process = subprocess.Popen(
            # A shell's background job, which this may be part of, ignores SIGINT.
            [
                *("env", "--default-signal=INT", *ZRAMFS),
                *("top", mount.path, "--interval", "0.01"),
            ],
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)

    assert process.returncode == 0
    assert set(lines) == {lines[0]}
    assert "stored 4.0K " in lines[0]


def test_a_mountpoint_may_hold_what_git_needs_to_keep_it(place: Path) -> None:
    path = place / "mnt"
    path.mkdir()
    (path / ".gitkeep").touch()

    zramfs("mount", path, "--disksize", "64M")
    zramfs("umount", path)

    assert teardown.leftovers(place) == []


def test_a_relative_mountpoint_is_found(place: Path) -> None:
    (place / "mnt").mkdir()
    command = '"$0" -m zramfs "$@" mnt'

    for words in (("mount", "--disksize", "64M"), ("status",), ("umount",)):
        run("env", "--chdir", place, "sh", "-c", command, sys.executable, *words)

    assert teardown.leftovers(place) == []


@pytest.mark.parametrize("name", ["link", "with space", "\u00fcber"])
def test_a_mountpoint_can_have_any_name(place: Path, name: str) -> None:
    (place / "mnt").mkdir()
    path = place / name
    if name == "link":
        path.symlink_to(place / "mnt")
    else:
        path.mkdir()

    zramfs("mount", path, "--disksize", "64M")
    shown = zramfs("status", path)
    zramfs("umount", path)

    assert str(path.resolve()) in shown
    assert teardown.leftovers(place) == []


def test_a_service_manager_that_is_gone_is_no_obstacle(place: Path) -> None:
    path = place / "mnt"
    path.mkdir()
    address = str(place / "no-such-socket")

    run(
        *(*ZRAMFS, "mount", path, "--disksize", "64M", "--log-file", place / "log"),
        extra={"NOTIFY_SOCKET": address},
    )
    zramfs("umount", path)

    assert teardown.leftovers(place) == []
    assert_quiet(place / "log", ["the service manager cannot be told"])


def test_options_of_mount_8_are_options(mounted: MountFactory) -> None:
    options = "rw,noatime,disksize=2M,mem_limit=1M,comp-algorithm=zstd"

    with mounted("-o", options) as mount:
        shown = mount.show("disksize"), mount.mm_stat().mem_limit
        algorithm = mount.show("comp_algorithm")

    assert shown == ("2097152\n", 1 << 20)
    assert "[zstd]" in algorithm


def test_the_daemon_is_kept_out_of_swap(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount:
        status = Path(f"/proc/{mount.pid}/status").read_text()
        log = mount.log.read_text()

    fields = dict(line.split(":", 1) for line in status.splitlines())
    locked = int(fields["VmLck"].removesuffix("kB"))
    assert locked > 0 or "mlockall: refused" in log
