"""zramfs.errors: one class, one errno."""

import errno

import pytest

from zramfs import errors

ERRNOS = {
    errors.ZramError: errno.EIO,
    errors.InvalidValue: errno.EINVAL,
    errors.NotInitialised: errno.EINVAL,
    errors.OutOfRange: errno.ERANGE,
    errors.TextTooLong: errno.E2BIG,
    errors.DeviceBusy: errno.EBUSY,
    errors.OutOfMemory: errno.ENOMEM,
    errors.UnknownFormat: errno.EPROTO,
    errors.MemoryLimitExceeded: errno.ENOMEM,
    errors.MemoryShort: errno.ENOMEM,
    errors.NotResident: errno.EOPNOTSUPP,
    errors.NoBackingDevice: errno.ENODEV,
    errors.NotBlockDevice: errno.ENOTBLK,
    errors.BackingDeviceFull: errno.ENOSPC,
    errors.WritebackLimitReached: errno.EIO,
    errors.ReadFailed: errno.EIO,
    errors.ForeignFile: errno.EEXIST,
    errors.SpillReadFailed: errno.EIO,
    errors.ShortTransfer: errno.EIO,
    errors.CorruptBlock: errno.EIO,
    errors.WriteFailed: errno.EIO,
    errors.CorruptPage: errno.EIO,
    errors.NoSpace: errno.ENOSPC,
    errors.NoData: errno.ENXIO,
    errors.NoEvents: errno.ENODEV,
    errors.NotSupported: errno.ENOSYS,
    errors.ModeNotSupported: errno.EOPNOTSUPP,
    errors.NoSuchFile: errno.ENOENT,
    errors.NotADirectory: errno.ENOTDIR,
    errors.WrongDirection: errno.EACCES,
    errors.FixedTree: errno.EPERM,
    errors.MountRefused: errno.EIO,
}


FAILURES = [kind for kind in vars(errors).values() if isinstance(kind, type)]


def test_the_table_has_every_failure() -> None:
    assert set(ERRNOS) == set(FAILURES)


@pytest.mark.parametrize(("error", "number"), ERRNOS.items())
def test_each_failure_has_the_errno_of_the_kernel(
    error: type[errors.ZramError], number: int
) -> None:
    assert error("why").errno == number


@pytest.mark.parametrize("error", FAILURES)
def test_each_failure_has_a_sentence_for_the_user(error: type) -> None:
    assert error.__doc__
    assert error.__doc__.splitlines()[0].endswith(".")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errors.DeviceBusy("the swapfile is open"), "the swapfile is open"),
        (
            IsADirectoryError(errno.EISDIR, "Is a directory", "/log"),
            "/log: Is a directory",
        ),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "Broken pipe"),
        (OSError("just words"), "just words"),
    ],
)
def test_a_person_is_told_what_it_is_about_and_why(
    error: errors.ZramError | OSError, told: str
) -> None:
    assert errors.sentence(error) == told
