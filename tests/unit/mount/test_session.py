"""zramfs.mount.session: mounting and unmounting, as far as that goes without one."""

import errno
import os
import sys
from collections.abc import Generator
from pathlib import Path, PosixPath
from typing import Final

import pytest

from zramfs.errors import MountRefused
from zramfs.mount import session
from zramfs.mount.session import MountPoint, check_mountpoint, parse_mountinfo

# As a Debian 12 shows them, and what people can make of them.
LINES: Final = (
    b"24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    b"51 24 0:46 / /mnt/z rw,nosuid,nodev - fuse.zramfs zramfs rw,user_id=0\n"
)


def line(path: bytes, *, root: bytes = b"/", fs_type: bytes = b"fuse.zramfs") -> bytes:
    return b"51 24 0:46 %s %s rw - %s zramfs rw\n" % (root, path, fs_type)


def test_a_mount_has_a_path_a_type_and_a_device() -> None:
    root, ours = parse_mountinfo(LINES)

    assert root == MountPoint(path=Path("/"), fs_type="ext4", device="8:1")
    assert ours == MountPoint(path=Path("/mnt/z"), fs_type="fuse.zramfs", device="0:46")


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        (b"/a\\040b", b"/a b"),
        (b"/a\\011b", b"/a\tb"),
        (b"/a\\012b", b"/a\nb"),
        (b"/a\\134b", b"/a\\b"),
        (b"/a\\134040b", b"/a\\040b"),
        (b"/a\\0401", b"/a 1"),
        (b"/a\\040-\\040b", b"/a - b"),
        (b"/a\rb", b"/a\rb"),
        (b"/a\x0bb\x0cc", b"/a\x0bb\x0cc"),
        (b"/\xff\xc3\xa4", b"/\xff\xc3\xa4"),
        (b"/a#b", b"/a#b"),
    ],
    ids=repr,
)
def test_a_path_is_shown_as_the_kernel_escapes_it(shown: bytes, name: bytes) -> None:
    [mount] = parse_mountinfo(line(shown))

    assert os.fsencode(mount.path) == name
    assert mount.fs_type == "fuse.zramfs"


@pytest.mark.parametrize("options", [b"", b"shared:1 ", b"shared:1 master:2 x:3 "])
def test_the_optional_fields_may_be_any_number(options: bytes) -> None:
    text = b"51 24 0:46 / /mnt rw " + options + b"- fuse.zramfs zramfs rw\n"

    assert parse_mountinfo(text)[0].fs_type == "fuse.zramfs"


def test_the_root_of_a_mount_may_look_like_anything() -> None:
    [mount] = parse_mountinfo(line(b"/mnt", root=b"/-\\040-/a\\012b"))

    assert mount.path == Path("/mnt")


def test_mounts_on_top_of_each_other_are_all_told() -> None:
    text = line(b"/mnt", fs_type=b"tmpfs") + line(b"/mnt")

    assert [mount.fs_type for mount in parse_mountinfo(text)] == [
        "tmpfs",
        "fuse.zramfs",
    ]


def test_nothing_may_be_mounted() -> None:
    assert parse_mountinfo(b"") == []


def test_the_mounts_of_this_system_can_be_read() -> None:
    assert Path("/proc") in [mount.path for mount in session.mounts()]


def test_other_filesystems_are_not_ours() -> None:
    assert Path("/proc") not in session.zramfs_mounts()


def test_an_empty_directory_can_be_mounted_on(tmp_path: Path) -> None:
    check_mountpoint(tmp_path)


def test_a_directory_with_a_placeholder_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / ".gitkeep").touch()

    check_mountpoint(tmp_path)


def test_a_missing_mountpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MountRefused, match=r"/no does not exist: create it first$"):
        check_mountpoint(tmp_path / "no")


def test_a_file_is_refused_as_mountpoint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(MountRefused, match=r"/file is not a directory$"):
        check_mountpoint(tmp_path / "file")


def test_a_directory_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".gitkeep").touch()
    (tmp_path / "file").touch()

    with pytest.raises(MountRefused, match=r" is not empty$"):
        check_mountpoint(tmp_path)


def test_a_directory_that_is_mounted_on_is_refused() -> None:
    with pytest.raises(MountRefused, match=r"^a proc is already mounted on /proc$"):
        check_mountpoint(Path("/proc"))


class Broken(PosixPath):
    """A directory that cannot be listed."""

    number = errno.EIO

    def iterdir(self) -> Generator["Broken", None, None]:
        raise OSError(self.number, os.strerror(self.number))


class Dead(Broken):
    number = errno.ENOTCONN


def test_a_dead_mount_is_refused_with_what_to_do() -> None:
    with pytest.raises(MountRefused, match=r"^a dead mount .* 'zramfs umount /d' rem"):
        check_mountpoint(Dead("/d"))


def test_a_directory_that_cannot_be_listed_is_refused() -> None:
    with pytest.raises(MountRefused, match=r"^/d: Input/output error$"):
        check_mountpoint(Broken("/d"))


def open_files() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Being nobody special; returns where commands are looked for."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(session, "FUSE_DEVICE", "/dev/null")
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    return path


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Being root, as far as zramfs is concerned."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def install(directory: Path, text: str) -> Path:
    """Make a fusermount3 that notes its arguments and does *text*."""
    command = directory / "fusermount3"
    command.write_text(f'#!/bin/sh\necho "$*" >{directory}/arguments\n{text}\n')
    command.chmod(0o755)
    return directory / "arguments"


def test_without_dev_fuse_nothing_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FUSE_DEVICE", str(tmp_path / "fuse"))

    with pytest.raises(MountRefused, match=r"/fuse is missing: load the kernel modu"):
        session.connect(tmp_path)


@pytest.mark.usefixtures("root")
def test_a_dev_fuse_that_cannot_be_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FUSE_DEVICE", str(tmp_path))

    with pytest.raises(MountRefused, match=r"^cannot open .*: Is a directory$"):
        session.connect(tmp_path)


@pytest.mark.usefixtures("root")
def test_a_mount_that_the_kernel_refuses_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FUSE_DEVICE", "/dev/null")
    before = open_files()

    # Not there: neither root nor anybody else can mount on it.
    with pytest.raises(MountRefused, match=r"^cannot mount on .*/no: "):
        session.connect(tmp_path / "no")

    assert open_files() == before


def test_without_fusermount3_a_user_is_told_what_to_install(
    user: Path, tmp_path: Path
) -> None:
    with pytest.raises(MountRefused, match=r"^fusermount3 is missing: install the pa"):
        session.connect(tmp_path)
    assert list(user.iterdir()) == []


def test_what_fusermount3_says_is_passed_on(user: Path, tmp_path: Path) -> None:
    install(user, "echo 'fusermount3: user has no write access' >&2; exit 1")

    with pytest.raises(MountRefused, match=r"^cannot mount on .*: fuse.* no write acc"):
        session.connect(tmp_path)


def test_the_connection_comes_from_fusermount3(user: Path, tmp_path: Path) -> None:
    script = tmp_path / "send.py"
    script.write_text(
        "import os, socket\n"
        "ours = socket.socket(fileno=int(os.environ['_FUSE_COMMFD']))\n"
        f"fd = os.open({str(script)!r}, os.O_RDONLY)\n"
        "socket.send_fds(ours, [b'\\0'], [fd])\n"
    )
    arguments = install(user, f"exec {sys.executable} -S -E {script}")

    fd = session.connect(tmp_path / "my mount")

    assert os.fstat(fd).st_ino == script.stat().st_ino
    assert not os.get_inheritable(fd)
    os.close(fd)
    words = arguments.read_text()
    assert "subtype=zramfs" in words
    assert words.endswith(f"-- {tmp_path}/my mount\n")


@pytest.mark.parametrize(("lazy", "flag"), [(False, "-u"), (True, "-uz")])
def test_a_user_unmounts_by_fusermount3(
    user: Path, tmp_path: Path, flag: str, *, lazy: bool
) -> None:
    arguments = install(user, "exit 0")

    session.unmount(tmp_path, lazy=lazy)

    assert arguments.read_text() == f"{flag} -- {tmp_path}\n"


def test_a_user_is_told_why_a_mount_stays(user: Path, tmp_path: Path) -> None:
    install(user, "echo 'fusermount3: busy' >&2; exit 1")

    with pytest.raises(MountRefused, match=r"^cannot unmount .*: fusermount3: busy$"):
        session.unmount(tmp_path)


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("lazy", [False, True])
def test_root_is_told_why_a_mount_stays(tmp_path: Path, *, lazy: bool) -> None:
    with pytest.raises(MountRefused, match=r"^cannot unmount .*: "):
        session.unmount(tmp_path, lazy=lazy)
