"""zramfs.core.named_files: paths in stores, and what dictionaries hold."""

import pytest

from zramfs.core.named_files import NamedFiles
from zramfs.errors import InvalidValue


def test_a_dictionary_is_read_as_was_told() -> None:
    files = NamedFiles({"/a": b"words", "/empty": b""}.__getitem__)

    assert files.read_dictionary("/a") == b"words"
    with pytest.raises(InvalidValue, match="/empty is empty"):
        files.read_dictionary("/empty")


def test_who_cannot_read_files_is_never_asked_to() -> None:
    with pytest.raises(AssertionError, match="/a"):
        NamedFiles(None).read_dictionary("/a")


def test_a_relative_path_begins_where_the_store_came_from() -> None:
    files = NamedFiles(None)
    files.cwd = "/somewhere"

    assert files.resolve("a/b") == "/somewhere/a/b"
    assert files.resolve("/a") == "/a"
