"""What cannot be done is refused in one sentence, and leaves nothing behind."""

import errno
import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.integration import teardown
from tests.integration.commands import (
    ZRAMFS,
    Argument,
    attempt,
    refused,
    the_sentence,
)
from tests.integration.corpus import noise
from tests.integration.mounts import MIB, PAGE_SIZE, MountFactory, refuses

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
]

MOUNTING: Final = [
    "mount",
    pytest.param("swapon", marks=pytest.mark.requires("root")),
]
"""Commands that mount; without root, swapon says that before all else."""


@pytest.fixture
def mountpoint(place: Path) -> Path:
    """An empty directory."""
    path = place / "mnt"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("options", "word"),
    [
        pytest.param(["--bogus"], "--bogus", id="option"),
        pytest.param(["-o", "bogus=1"], "bogus", id="key"),
        pytest.param(["-o", "disksize"], "disksize", id="key-without-value"),
        pytest.param(["--disksize", "much"], "much", id="disksize"),
        pytest.param(["--disksize", "0"], "disksize", id="no-disksize"),
        pytest.param(["--disksize", "-1"], "disksize", id="negative-disksize"),
        pytest.param(["-o", "disksize=much"], "much", id="disksize-key"),
        pytest.param(["--mem-limit", "some"], "some", id="mem-limit"),
        pytest.param(["--comp-algorithm", "rar"], "rar", id="algorithm"),
        pytest.param(["--data-path", "bogus"], "bogus", id="data-path"),
    ],
)
@pytest.mark.parametrize("command", ["mount", "swapon"])
def test_a_bad_command_line_is_refused(
    mountpoint: Path, command: str, options: list[str], word: str
) -> None:
    sentence = refused(command, mountpoint, *options, status=2)

    assert word in sentence
    assert teardown.leftovers(mountpoint.parent) == []


@pytest.mark.parametrize("arguments", [[], ["mount"], ["bogus"], ["umount"]])
def test_an_incomplete_command_line_is_refused(arguments: list[str]) -> None:
    sentence = refused(*arguments, status=2)

    assert sentence


@pytest.mark.parametrize("command", MOUNTING)
def test_a_missing_mountpoint_is_refused(place: Path, command: str) -> None:
    sentence = refused(command, place / "missing", "--disksize", "64M")

    assert "does not exist" in sentence
    assert teardown.leftovers(place) == []


def test_a_mountpoint_that_is_a_file_is_refused(place: Path) -> None:
    (place / "file").touch()

    sentence = refused("mount", place / "file")

    assert "not a directory" in sentence
    assert teardown.leftovers(place) == []


@pytest.mark.parametrize("foreground", [["-f"], []], ids=["foreground", "background"])
def test_a_mountpoint_that_is_not_empty_is_refused(
    mountpoint: Path, foreground: list[str]
) -> None:
    (mountpoint / "file").touch()

    sentence = refused("mount", mountpoint, *foreground)

    assert "not empty" in sentence
    assert teardown.leftovers(mountpoint) == []
    assert list(mountpoint.iterdir()) == [mountpoint / "file"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [("mount", "already mounted"), ("swapon", "is mounted already: --disksize")],
)
def test_a_mountpoint_in_use_is_refused(
    mounted: MountFactory, command: str, reason: str
) -> None:
    with mounted("--disksize", "64M") as mount:
        sentence = refused(command, mount.path, "--disksize", "64M")
        left = teardown.leftovers(mount.path.parent)
        shown = mount.show("disksize")

    assert reason in sentence
    assert len([line for line in left if line.startswith("mounted")]) == 1
    # The supervisor and its worker.
    assert len([line for line in left if line.startswith("running")]) == 2
    assert shown == "67108864\n"


@pytest.mark.parametrize("disksize", ["1P", "1E", "1e3"])
def test_a_disksize_beyond_all_memory_is_refused(
    mountpoint: Path, disksize: str
) -> None:
    sentence = refused("mount", mountpoint, "--disksize", disksize)

    assert "address space" in sentence
    assert teardown.leftovers(mountpoint) == []


@pytest.mark.parametrize(
    ("log", "why"), [("no/log", "No such file or directory"), (".", "Is a directory")]
)
def test_an_unusable_log_file_is_refused(mountpoint: Path, log: str, why: str) -> None:
    path = mountpoint.parent / log

    sentence = refused("mount", mountpoint, "--log-file", path)

    assert sentence == f"zramfs: {path}: {why}"
    assert teardown.leftovers(mountpoint) == []


_DEV_WITHOUT: Final = """
set -e
place=$1
missing=$2
shift 2
bare=$place/dev
mkdir "$bare"
mount -t tmpfs none "$bare"
for node in null zero urandom fuse loop-control; do
    [ "$node" = "$missing" ] || cp -a "/dev/$node" "$bare"
done
mount --move "$bare" /dev
set +e
"$@"
status=$?
grep -F "$place/mnt" /proc/self/mountinfo >&2
exit $status
"""
"""Run a command in whose /dev there is no $2, then show what it has mounted."""


def _without(
    device: str, place: Path, *command: Argument
) -> subprocess.CompletedProcess[str]:
    return attempt(
        *("unshare", "--mount", "--propagation=private"),
        *("sh", "-c", _DEV_WITHOUT, "sh", place, device),
        *command,
    )


@pytest.mark.requires("root", "unshare")
@pytest.mark.parametrize("command", ["mount", "swapon"])
def test_without_dev_fuse_it_is_refused(
    place: Path, mountpoint: Path, command: str
) -> None:
    done = _without("fuse", place, *ZRAMFS, command, mountpoint, "--disksize", "64M")

    assert "/dev/fuse" in the_sentence(done, 1)
    assert teardown.leftovers(place) == []


@pytest.mark.requires("root", "unshare")
def test_a_dev_fuse_that_is_something_else_is_refused(mountpoint: Path) -> None:
    hide = 'mount --bind /dev/null /dev/fuse && exec "$@"'
    done = attempt(
        *("unshare", "--mount", "--propagation=private", "sh", "-c", hide, "sh"),
        *(*ZRAMFS, "mount", mountpoint),
    )

    assert "cannot mount" in the_sentence(done, 1)
    assert teardown.leftovers(mountpoint) == []


@pytest.mark.requires("root", "loop", "unshare")
def test_without_a_free_loop_device_swapon_is_refused(
    place: Path, mountpoint: Path
) -> None:
    done = _without(
        "loop-control", place, *ZRAMFS, "swapon", mountpoint, "--disksize", "64M"
    )

    assert "losetup" in the_sentence(done, 1)
    assert teardown.leftovers(place) == []


@pytest.mark.requires("root", "loop")
@pytest.mark.parametrize("failing", ["losetup", "mkswap", "swapon"])
def test_a_swapon_that_fails_half_way_undoes_the_rest(
    place: Path, mountpoint: Path, failing: str
) -> None:
    tools = place / "bin"
    tools.mkdir()
    (tools / failing).write_text("#!/bin/sh\necho no luck >&2\nexit 1\n")
    (tools / failing).chmod(0o755)

    sentence = refused(
        *("swapon", mountpoint, "--disksize", "64M"),
        extra={"PATH": f"{tools}:{os.environ['PATH']}:/usr/sbin:/sbin"},
    )

    assert sentence == f"zramfs: {failing}: no luck"
    assert teardown.leftovers(place) == []


def test_what_exceeds_mem_limit_is_an_error_and_spares_old_data(
    mounted: MountFactory,
) -> None:
    old = noise(MIB, seed=1)

    with mounted("--disksize", "64M", "--mem-limit", "2M") as mount:
        fd = os.open(mount.swapfile, os.O_RDWR)
        os.pwrite(fd, old, 0)
        with refuses(errno.EIO):
            for offset in range(MIB, 4 * MIB, PAGE_SIZE):
                os.pwrite(fd, noise(PAGE_SIZE, seed=offset), offset)
        with refuses(errno.EIO):
            os.pwrite(fd, noise(PAGE_SIZE, seed=2), 8 * MIB)
        back = os.pread(fd, MIB, 0)
        os.close(fd)
        failed = mount.io_stat().failed_writes
        memory = mount.mm_stat()

    assert back == old
    assert failed == 2
    assert memory.mem_used_total <= memory.mem_limit == 2 * MIB


def test_after_mem_limit_is_raised_writing_goes_on(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M", "--mem-limit", "1M") as mount:
        fd = os.open(mount.swapfile, os.O_RDWR)
        with refuses(errno.EIO):
            for offset in range(0, 2 * MIB, PAGE_SIZE):
                os.pwrite(fd, noise(PAGE_SIZE), offset)
        mount.store("mem_limit", "8M")
        written = os.pwrite(fd, noise(MIB), 0)
        back = os.pread(fd, MIB, 0)
        os.close(fd)

    assert (written, back) == (MIB, noise(MIB))


def test_a_disksize_beyond_the_address_space_is_enomem(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount:
        mount.store("reset", "1")
        with refuses(errno.ENOMEM):
            mount.store("disksize", "1E")
        bare = mount.show("disksize"), mount.show("initstate")
        mount.store("disksize", "64M")
        mount.swapfile.write_bytes(noise(PAGE_SIZE))
        stored = mount.mm_stat().orig_data_size

    assert bare == ("0\n", "0\n")
    assert stored == PAGE_SIZE
