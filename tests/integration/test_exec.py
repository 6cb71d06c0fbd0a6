"""zramfs exec: tools made for the kernel's zram, and nothing left behind."""

import errno
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration import teardown
from tests.integration.commands import ZRAMFS, attempt, environment, run, zramfs
from tests.integration.mounts import MIB, Mount, MountFactory

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("root", "fuse", "loop", "zramctl"),
    pytest.mark.timeout(60),
]


def execute(mount: Mount, script: str, *options: str) -> str:
    """Run a shell's *script* in there, which must succeed."""
    return zramfs("exec", *options, mount.path, "--", "sh", "-ec", script)


def status_of(mount: Mount, *words: str) -> int:
    return attempt(*ZRAMFS, "exec", mount.path, "--", *words).returncode


def is_gone(mount: Mount) -> bool:
    """Whether nothing stands on *mount* that a command has left."""
    return not teardown.loops_below(mount.path) and mount.show("dev") == "0:0\n"


@contextmanager
def running(mount: Mount, script: str) -> "Iterator[subprocess.Popen[str]]":
    """Run a shell's *script* in there, that has said "ready", in its own session."""
    process = subprocess.Popen(
        [*ZRAMFS, "exec", mount.path, "--", "sh", "-c", script],
        env=environment({teardown.MARK: str(mount.path)}),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout
        for line in process.stdout:
            if line == "ready\n":
                break
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


def test_zramctl_creates_lists_and_resets(mounted: MountFactory) -> None:
    with mounted() as mount:
        listed = execute(
            mount,
            """
            zramctl --size 64M --algorithm zstd /dev/$ZRAM
            head -c 8192 /dev/urandom | dd of=/dev/$ZRAM oflag=direct bs=4096 2>&1
            zramctl --output-all --bytes --noheadings --raw
            zramctl --reset /dev/$ZRAM
            zramctl --noheadings
            cat /sys/block/$ZRAM/initstate
            """,
        ).splitlines()
        assert mount.show("initstate") == "0\n"

    row = next(line for line in listed if line.startswith("/dev/zram")).split()
    name, disksize, data, compr, algorithm, *rest = row
    assert re.fullmatch(r"/dev/zram\d+", name)
    assert not Path(name).exists()
    assert [disksize, data, compr, algorithm] == ["67108864", "8192", "8192", "zstd"]
    assert rest[-4:] == ["8192", "0", "8192", "0"]
    assert listed[-1] == "0"
    assert sum(line.startswith("/dev/zram") for line in listed) == 1


def test_lsblk_and_a_parser_of_nine_fields_read_it(mounted: MountFactory) -> None:
    script = """
        lsblk --json --output-all
        "$0" -c '
import os
file = open(os.path.join("/sys/block", os.environ["ZRAM"], "mm_stat"))
a, b, c, d, e, f, g, h, i = map(int, file.read().split())
'
        for place in /sys/block /sys/class/block; do readlink -f $place/$ZRAM; done
        readlink -f /sys/dev/block/$(cat /sys/block/$ZRAM/dev)
        stat -c %t:%T /dev/$ZRAM; cat /sys/block/$ZRAM/dev
        sed -n s/DEVNAME=//p /sys/block/$ZRAM/uevent
    """
    with mounted("--disksize", "64M") as mount:
        said = zramfs("exec", mount.path, "--", "sh", "-ec", script, sys.executable)

    tree, _, rest = said.rpartition("}\n")
    (disk,) = (
        row
        for row in json.loads(tree + "}")["blockdevices"]
        if row["name"].startswith("zram")
    )
    *places, node, dev, devname = rest.splitlines()
    assert set(places) == {f"/sys/devices/virtual/block/{disk['name']}"}
    major, minor = (int(number, 16) for number in node.split(":"))
    assert dev == f"{major}:{minor}" == disk["maj:min"]
    assert devname == disk["name"] == disk["kname"]
    assert (disk["size"], disk["type"], disk["mode"]) == ("64M", "disk", "brw-------")
    assert (disk["log-sec"], disk["disc-gran"], disk["rota"]) == (4096, "4K", False)


def test_it_is_swapped_on_and_made_a_filesystem(mounted: MountFactory) -> None:
    script = """
        mkswap --quiet /dev/$ZRAM
        swapon --priority 0 /dev/$ZRAM
        swapon --show=NAME,SIZE --noheadings --raw | grep zram
        zramctl --noheadings --raw --output MOUNTPOINT
        ! echo 1 2>/dev/null >/sys/block/$ZRAM/reset
        swapoff /dev/$ZRAM
        mkfs.ext4 -q /dev/$ZRAM
        mount /dev/$ZRAM "$0"
        echo text >"$0"/file
        zramctl --noheadings --raw --output MOUNTPOINT
        ! echo 1 2>/dev/null >/sys/block/$ZRAM/reset
        umount "$0"
        exec 3</dev/$ZRAM
        ! echo 1 2>/dev/null >/sys/block/$ZRAM/reset
        exec 3<&-
        blkdiscard --force /dev/$ZRAM
        awk '{print $1}' /sys/block/$ZRAM/mm_stat
        echo 1 >/sys/block/$ZRAM/reset
        echo 32M >/sys/block/$ZRAM/disksize
        blockdev --getsize64 /dev/$ZRAM
    """
    with mounted("--disksize", "64M") as mount:
        inner = mount.path.with_name("inner")
        inner.mkdir()
        said = zramfs("exec", mount.path, "--", "sh", "-ec", script, inner)

        assert is_gone(mount)
        assert mount.show("disksize") == f"{32 * MIB}\n"
    swap, swapped, mounted_on, stored, size = said.splitlines()
    assert re.fullmatch(r"/dev/zram\d+ 64M", swap)
    assert (swapped, mounted_on) == ("[SWAP]", str(inner))
    assert (stored, size) == ("0", str(32 * MIB))


def test_a_name_can_be_chosen_and_hides_the_kernels(mounted: MountFactory) -> None:
    with mounted() as mount:
        said = execute(
            mount,
            """
            echo $ZRAM /sys/block/zram*
            zramctl --find --size 16M
            ! zramctl --find 2>/dev/null
            echo 0 >/sys/class/zram-control/hot_remove
            """
            if Path("/sys/class/zram-control").exists()
            else "echo $ZRAM /sys/block/zram*; echo /dev/zram0",
            *("--name", "zram0"),
        )

    assert said.splitlines() == ["zram0 /sys/block/zram0", "/dev/zram0"]


def test_an_exit_status_is_passed_on_and_nothing_left(mounted: MountFactory) -> None:
    with mounted() as mount:
        before = Path("/proc/self/mountinfo").read_text()
        statuses = [
            status_of(mount, "sh", "-c", "exit 7"),
            status_of(mount, "sh", "-c", "kill -KILL $$"),
            status_of(mount, "no-such-command"),
            status_of(mount, "/etc/passwd"),
        ]

        assert statuses == [7, 137, 127, 126]
        assert is_gone(mount)
        assert Path("/proc/self/mountinfo").read_text() == before
        names = {path.name for path in Path("/sys/block").glob("zram*")}
        assert names == {path.name for path in Path("/dev").glob("zram*")}


def test_a_loop_device_that_is_attached_is_used_and_stays(
    mounted: MountFactory,
) -> None:
    with mounted("--disksize", "4M") as mount:
        loop = run("losetup", "--find", "--show", mount.swapfile).strip()
        said = execute(mount, "cat /sys/block/$ZRAM/dev; zramctl --reset /dev/$ZRAM")

        assert said == Path("/sys/block", Path(loop).name, "dev").read_text()
        assert teardown.loops_below(mount.path) == [Path(loop)]
        assert teardown.detach(Path(loop))


LEFT = """
    mkswap --quiet /dev/$ZRAM && swapon --priority 0 /dev/$ZRAM
    setsid sleep 1000 &
    echo ready
    while :; do sleep 0.1; done
"""


def command_of(process: "subprocess.Popen[str]") -> int:
    """Return the process that is the command."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    (command,) = (
        child
        for child in children.split()
        if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"sh\0")
    )
    return int(command)


def swap_off_anyway(mount: Mount) -> None:
    """Swap off what a failed test has left, whatever its name is in /proc/swaps."""
    for loop in teardown.loops_below(mount.path):
        attempt("swapoff", loop)


def is_in_use(loop: Path) -> bool:
    """Whether somebody is mounted on *loop*, or swaps on it."""
    try:
        os.close(os.open(loop, os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def nr_processes_in(namespace: int) -> int:
    count = 0
    for entry in Path("/proc").glob("[0-9]*/ns/mnt"):
        with suppress(OSError):  # it has ended
            count += entry.stat().st_ino == namespace
    return count


@pytest.mark.parametrize("who", ["command", "exec", "both", "group"])
def test_nothing_is_left_when_it_is_killed(mounted: MountFactory, who: str) -> None:
    with mounted("--disksize", "32M") as mount, ExitStack() as stack:
        stack.callback(swap_off_anyway, mount)
        before = set(teardown.processes_of(mount.path))
        with running(mount, LEFT) as process:
            (loop,) = teardown.loops_below(mount.path)
            command = command_of(process)
            namespace = Path(f"/proc/{command}/ns/mnt").stat().st_ino
            assert is_in_use(loop)
            assert nr_processes_in(namespace) >= 2
            if who == "group":
                os.killpg(process.pid, signal.SIGKILL)
            if who in ("exec", "both"):
                process.kill()
            if who in ("command", "both"):
                os.kill(command, signal.SIGKILL)

            status = process.wait(20)

        # A loop device that is swapped on cannot be detached.
        assert status == (137 if who == "command" else -9)
        assert teardown.wait_until(lambda: is_gone(mount))
        assert teardown.wait_until(lambda: not nr_processes_in(namespace))
        assert teardown.wait_until(
            lambda: set(teardown.processes_of(mount.path)) == before
        )


SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if not job:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
_, status = os.waitpid(job, os.WUNTRACED)
print("stopped" if os.WIFSTOPPED(status) else status, flush=True)
os.killpg(job, signal.SIGCONT)
_, status = os.waitpid(job, 0)
print("status", os.waitstatus_to_exitcode(status), flush=True)
"""
"""What a shell does to run a job in the foreground, and to continue it once."""


def test_the_terminal_stops_and_interrupts_it(mounted: MountFactory) -> None:
    with mounted("--disksize", "4M") as mount:
        words = [*ZRAMFS, "exec", str(mount.path), "--", "cat"]
        extra = {teardown.MARK: str(mount.path)}
        shell, terminal = pty.fork()
        if not shell:
            os.execve(
                sys.executable,
                [sys.executable, "-c", SHELL, *words],
                environment(extra),
            )
        try:
            os.write(terminal, b"hello\n")
            hear(terminal, b"hello", 2)  # by the terminal, and by cat
            os.write(terminal, b"\x1a")
            hear(terminal, b"stopped")
            os.write(terminal, b"again\n")
            hear(terminal, b"again", 2)
            os.write(terminal, b"\x03")
            hear(terminal, b"status 130")
        finally:
            os.kill(shell, signal.SIGKILL)
            os.waitpid(shell, 0)
            os.close(terminal)

        assert teardown.wait_until(lambda: is_gone(mount))


def hear(terminal: int, words: bytes, times: int = 1) -> None:
    """Read until *words* have come so many times."""
    heard = b""
    while heard.count(words) < times:
        readable, _, _ = select.select([terminal], [], [], 10)
        assert readable, heard
        heard += os.read(terminal, 4096)


def test_no_descriptor_of_the_daemon_or_ours_is_inherited(
    mounted: MountFactory,
) -> None:
    with mounted("--disksize", "4M") as mount:
        said = execute(mount, "readlink /proc/$$/fd/* || true")
        infos = Path(f"/proc/{mount.pid}/fdinfo").iterdir()
        flags = {
            int(info.name): int(line.split()[1], 8)
            for info in infos
            for line in info.read_text().splitlines()
            if line.startswith("flags:")
        }

    files = said.splitlines()
    assert "/dev/null" in files
    assert all(file.startswith(("/dev/null", "pipe:")) for file in files), files
    assert [fd for fd in flags if fd > 2 and not flags[fd] & os.O_CLOEXEC] == []
