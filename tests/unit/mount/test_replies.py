"""zramfs.mount.replies: what an error becomes on the wire."""

import errno
import gc
import weakref
from typing import NoReturn

import pytest

from zramfs import errors
from zramfs.mount.replies import errno_of

DELIBERATE = [
    errors.InvalidValue,
    errors.DeviceBusy,
    errors.NoSpace,
    errors.NotSupported,
    errors.WrongDirection,
]


@pytest.mark.parametrize("error", DELIBERATE)
def test_a_deliberate_error_has_its_errno_and_is_not_logged(
    error: type[errors.ZramError], caplog: pytest.LogCaptureFixture
) -> None:
    assert errno_of(error("why"), "WRITE") == error.errno
    assert caplog.records == []


def test_a_page_that_cannot_be_read_is_logged(
    caplog: pytest.LogCaptureFixture, announced: list[str]
) -> None:
    announced.append("READ: page 3 is broken")

    assert errno_of(errors.ReadFailed("page 3 is broken"), "READ") == errno.EIO
    assert len(caplog.records) == 1


def test_the_log_does_not_keep_what_could_not_be_read(announced: list[str]) -> None:
    class Mapped:
        """Memory that the frames of the error refer to."""

    def read(mapped: Mapped) -> NoReturn:
        raise errors.ReadFailed(f"page 3 of {type(mapped)} is broken")

    def fail() -> "weakref.ref[Mapped]":
        mapped = Mapped()
        try:
            read(mapped)
        except errors.ReadFailed as error:
            errno_of(error, "READ")
        return weakref.ref(mapped)

    announced.append("page 3")
    mapped = fail()
    gc.collect()

    assert mapped() is None


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (FileNotFoundError(errno.ENOENT, "gone"), errno.ENOENT),
        (OSError("without a number"), errno.EIO),
    ],
)
def test_an_error_of_the_system_keeps_its_number(error: OSError, number: int) -> None:
    assert errno_of(error, "WRITE") == number


@pytest.mark.parametrize("error", [KeyError("x"), AssertionError(), MemoryError()])
def test_what_nobody_expected_is_eio_with_a_traceback(
    error: Exception, caplog: pytest.LogCaptureFixture, announced: list[str]
) -> None:
    announced.append("LOOKUP failed")

    assert errno_of(error, "LOOKUP") == errno.EIO
    assert caplog.records[0].exc_info
    assert caplog.records[0].exc_info[1] is error
