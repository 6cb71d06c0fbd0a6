"""zramfs.mount.operations: FUSE requests, translated."""

import errno
import os
import stat
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final, cast

import pyfuse3
import pytest
import trio

from tests.unit.conftest import NR_SLOTS
from tests.unit.mount.operator import CTX, ROOT, SWAPFILE, Operator, refused
from tests.unit.requests import write_page
from zramfs.core.device import Device
from zramfs.errors import DeviceBusy, InvalidValue
from zramfs.mount.operations import Operations, replies_errno
from zramfs.units import PAGE_SIZE


def named(name: str) -> pyfuse3.FileNameT:
    return pyfuse3.FileNameT(name.encode())


def raising(error: Exception) -> Callable[[], Coroutine[object, object, None]]:
    @replies_errno
    async def handler() -> None:
        raise error

    return handler


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (InvalidValue("no"), errno.EINVAL),
        (DeviceBusy("busy"), errno.EBUSY),
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
    ],
)
def test_an_error_becomes_its_errno(error: Exception, number: int) -> None:
    with pytest.raises(pyfuse3.FUSEError) as reply:
        trio.run(raising(error))

    assert reply.value.errno == number
    assert reply.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [KeyError("x"), AssertionError("why"), ExceptionGroup("", [OSError()])]
)
def test_an_unexpected_exception_is_eio_with_a_traceback(
    error: Exception, announced: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    announced.append("^ERROR: handler failed$")

    with refused(errno.EIO):
        trio.run(raising(error))

    assert "Traceback" in caplog.text


def test_a_handler_keeps_its_name() -> None:
    assert replies_errno(Operations.lookup).__name__ == "lookup"


def test_being_cancelled_is_no_error() -> None:
    @replies_errno
    async def handler() -> None:
        await trio.sleep_forever()

    async def main() -> bool:
        with trio.move_on_after(0) as scope:
            await handler()
        return scope.cancelled_caught

    assert trio.run(main)


def test_a_fault_in_a_handler_costs_that_request(
    device: Device, announced: list[str]
) -> None:
    announced.append("read failed")
    operations = Operator(device)

    with refused(errno.EIO):
        trio.run(operations.read, pyfuse3.FileHandleT(ROOT), 0, 10)

    assert trio.run(operations.getattr, ROOT, CTX).st_ino == ROOT


REFUSING: Final = {
    "create": errno.EACCES,
    "mknod": errno.EPERM,
    "mkdir": errno.EPERM,
    "symlink": errno.EPERM,
    "link": errno.EPERM,
    "unlink": errno.EPERM,
    "rmdir": errno.EPERM,
    "rename": errno.EPERM,
}


@pytest.mark.parametrize(("name", "number"), REFUSING.items(), ids=REFUSING)
def test_nothing_is_made_or_removed(
    operations: Operator, name: str, number: int
) -> None:
    handler = getattr(operations, name)

    async def call() -> None:
        await handler(ROOT, named("new"), 0o644, 0, CTX)

    with refused(number):
        trio.run(call)


def test_the_swapfile_is_as_large_as_the_device(operations: Operator) -> None:
    entry = trio.run(operations.lookup, ROOT, named("swapfile"), CTX)

    assert entry.st_ino == SWAPFILE
    assert entry.st_size == NR_SLOTS * PAGE_SIZE
    assert entry.st_mode == stat.S_IFREG | 0o600


def test_the_size_of_the_swapfile_is_never_cached(operations: Operator) -> None:
    entry = trio.run(operations.getattr, SWAPFILE, CTX)

    assert entry.attr_timeout == 0
    assert entry.entry_timeout > 3600


def test_the_swapfile_of_a_bare_device_is_empty(bare: Device) -> None:
    assert trio.run(Operator(bare).getattr, SWAPFILE, CTX).st_size == 0


def test_a_control_file_looks_as_in_sysfs(operations: Operator) -> None:
    entry = trio.run(operations.lookup, ROOT, named("mm_stat"), CTX)

    assert entry.st_size == 4096
    assert entry.st_mode == stat.S_IFREG | 0o444
    assert entry.st_nlink == 1
    assert entry.attr_timeout == entry.entry_timeout > 3600


@pytest.mark.parametrize("name", ["", "zramfs"], ids=["root", "zramfs"])
def test_a_directory_looks_like_one(operations: Operator, name: str) -> None:
    inode = operations.inode(name) if name else ROOT

    entry = trio.run(operations.getattr, inode, CTX)

    assert entry.st_mode == stat.S_IFDIR | 0o755
    assert entry.st_nlink == 2


def test_files_belong_to_whoever_mounted(operations: Operator) -> None:
    entry = trio.run(operations.getattr, SWAPFILE, CTX)

    assert (entry.st_uid, entry.st_gid) == (os.getuid(), os.getgid())


def test_a_file_that_is_not_there_is_not_found(operations: Operator) -> None:
    with refused(errno.ENOENT):
        trio.run(operations.lookup, ROOT, named("mm_stats"), CTX)
    with refused(errno.ENOENT):
        trio.run(operations.getattr, pyfuse3.InodeT(999), CTX)


def test_nothing_is_found_below_a_file(operations: Operator) -> None:
    with refused(errno.ENOTDIR):
        trio.run(operations.lookup, SWAPFILE, named("x"), CTX)
    with refused(errno.ENOTDIR):
        trio.run(operations.opendir, SWAPFILE, CTX)


@dataclass(frozen=True, slots=True)
class Fields:
    """A stand-in for SetattrFields, which only pyfuse3 can fill in."""

    update_mode: bool = False
    update_uid: bool = False
    update_gid: bool = False
    update_size: bool = False
    update_atime: bool = False
    update_mtime: bool = False


def setattr_of(
    operations: Operator, name: str, fields: Fields, *, mode: int = 0
) -> pyfuse3.EntryAttributes:
    wanted = pyfuse3.EntryAttributes()
    wanted.st_mode = pyfuse3.ModeT(mode)
    return trio.run(
        operations.setattr,
        operations.inode(name),
        wanted,
        cast("pyfuse3.SetattrFields", fields),
        None,
        CTX,
    )


@pytest.mark.parametrize("name", ["swapfile", "disksize", "zramfs"])
def test_truncation_and_times_are_taken_and_change_nothing(
    operations: Operator, name: str
) -> None:
    fields = Fields(update_size=True, update_atime=True, update_mtime=True)
    before = trio.run(operations.getattr, operations.inode(name), CTX)

    entry = setattr_of(operations, name, fields)

    assert (entry.st_size, entry.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("field_name", ["update_uid", "update_gid"])
def test_owners_are_fixed(operations: Operator, field_name: str) -> None:
    with refused(errno.EPERM):
        setattr_of(operations, "disksize", Fields(**{field_name: True}))


def test_a_mode_is_fixed(operations: Operator) -> None:
    with refused(errno.EPERM):
        setattr_of(
            operations,
            "disksize",
            Fields(update_mode=True),
            mode=stat.S_IFREG | 0o666,
        )


def test_the_mode_that_a_file_has_may_be_set(operations: Operator) -> None:
    entry = setattr_of(
        operations, "disksize", Fields(update_mode=True), mode=stat.S_IFREG | 0o644
    )

    assert entry.st_mode == stat.S_IFREG | 0o644


def test_statfs_tells_of_pages(operations: Operator, device: Device) -> None:
    write_page(device, 0, "text")
    write_page(device, 1, "zero")

    data = trio.run(operations.statfs, CTX)

    assert (data.f_bsize, data.f_frsize) == (PAGE_SIZE, PAGE_SIZE)
    assert (data.f_blocks, data.f_bfree, data.f_bavail) == (64, 62, 62)
    assert data.f_namemax == 255


def test_statfs_of_a_bare_device_is_zero(bare: Device) -> None:
    data = trio.run(Operator(bare).statfs, CTX)

    assert (data.f_blocks, data.f_bfree) == (0, 0)


def test_statfs_is_not_answered_where_discards_do_not_arrive(device: Device) -> None:
    with refused(errno.ENOSYS):
        trio.run(Operator(device, discards=False).statfs, CTX)


def test_files_are_opened_past_the_page_cache(operations: Operator) -> None:
    flags = pyfuse3.FlagT(os.O_RDWR)

    info = trio.run(operations.open, operations.inode("disksize"), flags, CTX)

    assert info.direct_io


def test_a_file_is_read_written_and_closed(
    operations: Operator, device: Device
) -> None:
    flags = pyfuse3.FlagT(os.O_RDWR)
    info = trio.run(operations.open, SWAPFILE, flags, CTX)

    assert trio.run(operations.write, info.fh, 3, b"data") == 4
    assert trio.run(operations.read, info.fh, 2, 6) == b"\0data\0"
    trio.run(operations.release, info.fh)
    assert device.openers == 0


def test_a_file_that_cannot_be_opened_says_why(operations: Operator) -> None:
    with refused(errno.EACCES):
        trio.run(
            operations.open,
            operations.inode("mm_stat"),
            pyfuse3.FlagT(os.O_WRONLY),
            CTX,
        )


def test_a_refused_store_is_the_writers_error(operations: Operator) -> None:
    flags = pyfuse3.FlagT(os.O_WRONLY)
    info = trio.run(operations.open, operations.inode("disksize"), flags, CTX)

    with refused(errno.EBUSY):
        trio.run(operations.write, info.fh, 0, b"1G\n")
