"""zramfs.spill: what may be a backing device, and that only one zramfs has it."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zramfs.core.header import Header
from zramfs.errors import DeviceBusy, ForeignFile, NotBlockDevice
from zramfs.seal import Sealer, make_sealer
from zramfs.spill import Spill, open_spill

MIB = 1 << 20

MARK = "user.zramfs.spill"

Opener = Callable[..., Spill]


@pytest.fixture
def sealer() -> Sealer:
    return make_sealer(None, Header())


@pytest.fixture
def opened(sealer: Sealer) -> Iterator[Opener]:
    """Opens backing devices; those that are still open are closed at the end."""
    spills: list[Spill] = []

    def opener(path: Path, size: int | None = None) -> Spill:
        fd = open_spill(str(path), size)
        spills.append(Spill(fd, str(path), sealer))
        return spills[-1]

    yield opener
    for spill in spills:
        if not spill._is_closed:
            spill.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of a MiB of zeros."""
    path = tmp_path / "spill"
    path.write_bytes(bytes(MIB))
    return path


def fail_with(number: int) -> Callable[..., None]:
    def fail(*_args: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_file_has_a_block_for_each_whole_page(opened: Opener, file: Path) -> None:
    os.truncate(file, MIB + 4095)

    spill = opened(file)

    assert (spill.nr_blocks, spill.path) == (256, str(file))
    assert spill.seal_bytes == 8


def test_a_missing_file_is_made_of_the_size_asked_for(
    opened: Opener, tmp_path: Path
) -> None:
    path = tmp_path / "new"

    assert opened(path, MIB).nr_blocks == 256
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_size == MIB
    assert status.st_blocks * 512 >= MIB


def test_a_missing_file_without_a_size_is_missing(
    opened: Opener, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="No such file"):
        opened(tmp_path / "new")

    assert not list(tmp_path.iterdir())


def test_a_file_that_does_not_fit_leaves_nothing(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", fail_with(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        opened(tmp_path / "new", MIB)

    assert not list(tmp_path.iterdir())


def test_an_empty_file_gets_the_size(opened: Opener, tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()

    assert opened(path, MIB).nr_blocks == 256


def test_an_empty_file_stays_empty_if_the_size_does_not_fit(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "empty"
    path.touch()
    monkeypatch.setattr(os, "posix_fallocate", fail_with(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        opened(path, MIB)

    assert path.stat().st_size == 0


@pytest.mark.parametrize("size", [MIB // 2, 2 * MIB])
def test_a_file_of_another_size_is_left_alone(
    opened: Opener, file: Path, size: int
) -> None:
    with pytest.raises(ForeignFile, match=r"has 1\.0M already"):
        opened(file, size)

    assert file.stat().st_size == MIB


def test_a_file_that_was_used_before_is_used_again(opened: Opener, file: Path) -> None:
    first = opened(file, MIB)
    first.close()
    file.write_bytes(os.urandom(MIB))
    os.setxattr(file, MARK, b"")  # writing a file anew keeps it, but not here

    assert opened(file, MIB).nr_blocks == 256


def test_a_file_with_something_else_in_it_is_left_alone(
    opened: Opener, file: Path
) -> None:
    with file.open("r+b") as image:
        image.seek(0x8001)
        image.write(b"CD001")  # as an ISO image

    with pytest.raises(ForeignFile, match="something else"):
        opened(file)

    assert MARK not in os.listxattr(file)


@pytest.mark.parametrize(("mode", "is_taken"), [(0o600, True), (0o644, False)])
def test_without_attributes_ours_is_what_looks_as_we_make_it(
    opened: Opener,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    mode: int,
    is_taken: bool,
) -> None:
    file.write_bytes(b"x" * MIB)
    file.chmod(mode)
    for name in ("getxattr", "setxattr"):
        monkeypatch.setattr(os, name, fail_with(errno.ENOTSUP))

    if is_taken:
        assert opened(file).nr_blocks == 256
        return
    with pytest.raises(ForeignFile, match="something else"):
        opened(file)


def test_a_mark_that_cannot_be_set_for_another_reason_is_an_error(
    opened: Opener, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "setxattr", fail_with(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        opened(file)


def test_a_file_that_another_zramfs_has_is_busy(opened: Opener, file: Path) -> None:
    opened(file)

    with pytest.raises(DeviceBusy, match="another zramfs"):
        opened(file)


def test_a_file_is_free_when_it_was_closed(opened: Opener, file: Path) -> None:
    opened(file).close()

    assert opened(file).nr_blocks == 256


def test_a_descriptor_in_use_is_closed_at_the_end(opened: Opener, file: Path) -> None:
    spill = opened(file)
    spill.hold()
    spill.hold()
    spill.close()
    spill.drop()
    with pytest.raises(DeviceBusy, match="another zramfs"):
        opened(file)

    spill.drop()

    assert opened(file).nr_blocks == 256


def test_another_process_goes_on_with_the_descriptor(
    opened: Opener, file: Path, sealer: Sealer
) -> None:
    first = opened(file)
    again = Spill(os.dup(first.fd), first.path, sealer)
    os.close(first.fd)  # as a process that dies does
    first._is_closed = True

    with pytest.raises(DeviceBusy, match="another zramfs"):  # the lock is of both
        opened(file)
    assert (again.nr_blocks, again.is_direct) == (256, first.is_direct)
    again.close()


def test_whoever_lets_go_lets_go_for_all(
    opened: Opener, file: Path, sealer: Sealer
) -> None:
    ended: list[str] = []
    first = opened(file)
    held = os.dup(first.fd)
    first.close()
    again = Spill(open_spill(str(file)), "again", sealer, lambda: ended.append("end"))

    again.close()

    assert ended == ["end"]
    os.close(held)


def test_no_command_inherits_it(opened: Opener, file: Path) -> None:
    assert not os.get_inheritable(opened(file).fd)


def test_a_character_device_is_refused(opened: Opener) -> None:
    with pytest.raises(NotBlockDevice, match="/dev/null"):
        opened(Path("/dev/null"))


def test_a_fifo_is_refused_and_not_waited_for(opened: Opener, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(NotBlockDevice, match="fifo"):
        opened(tmp_path / "fifo")


def test_a_directory_is_refused(opened: Opener, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        opened(tmp_path)


def test_a_file_is_opened_for_direct_io(opened: Opener, file: Path) -> None:
    spill = opened(file)

    assert spill.is_direct
    assert not fcntl.fcntl(spill.fd, fcntl.F_GETFL) & os.O_NONBLOCK


def test_where_direct_io_is_refused_a_file_is_buffered_with_a_warning(
    opened: Opener,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    announced: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    announced.append("no direct I/O")
    monkeypatch.setattr(os, "preadv", fail_with(errno.EINVAL))

    spill = opened(file)

    assert not spill.is_direct
    assert len([line for line in caplog.messages if "no direct I/O" in line]) == 1


def test_a_file_that_cannot_be_read_is_refused(
    opened: Opener, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "preadv", fail_with(errno.EIO))

    with pytest.raises(OSError, match="Input/output"):
        opened(file)
