"""zramfs.mount.operations: listing directories, page by page."""

from dataclasses import dataclass, field
from typing import Final, cast

import pyfuse3
import pytest
import trio

from tests.unit.mount.operator import CTX, ROOT, Operator

TOKEN: Final = cast("pyfuse3.ReaddirToken", None)


@dataclass(slots=True)
class Page:
    """The reply to one READDIR, with room for so many entries."""

    room: int
    entries: list[tuple[bytes, int]] = field(default_factory=list)

    def reply(
        self,
        _token: pyfuse3.ReaddirToken,
        name: pyfuse3.FileNameT,
        _entry: pyfuse3.EntryAttributes,
        next_id: int,
    ) -> bool:
        if len(self.entries) == self.room:
            return False
        self.entries.append((name, next_id))
        return True


def pages_of(
    operations: Operator, inode: int, room: int, monkeypatch: pytest.MonkeyPatch
) -> list[list[bytes]]:
    """List a directory as the kernel does: on from where the last reply ended."""
    handle = trio.run(operations.opendir, pyfuse3.InodeT(inode), CTX)
    pages: list[list[bytes]] = []
    start = 0
    while True:
        page = Page(room)
        monkeypatch.setattr(pyfuse3, "readdir_reply", page.reply)
        trio.run(operations.readdir, handle, start, TOKEN)
        if not page.entries:
            return pages
        pages.append([name for name, _ in page.entries])
        start = page.entries[-1][1]


@pytest.mark.parametrize("room", [1, 2, 5, 100])
def test_a_directory_is_listed_page_by_page(
    operations: Operator, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    pages = pages_of(operations, ROOT, room, monkeypatch)

    names = [name for page in pages for name in page]
    assert names == list(operations.tree.children(ROOT))
    assert all(len(page) == room for page in pages[:-1])


def test_listing_may_begin_anywhere(
    operations: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page(100)
    monkeypatch.setattr(pyfuse3, "readdir_reply", page.reply)

    trio.run(operations.readdir, pyfuse3.FileHandleT(ROOT), 3, TOKEN)

    assert page.entries[0] == (list(operations.tree.children(ROOT))[3], 4)


def test_behind_the_end_of_a_directory_is_nothing(
    operations: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page(100)
    monkeypatch.setattr(pyfuse3, "readdir_reply", page.reply)

    trio.run(operations.readdir, pyfuse3.FileHandleT(ROOT), 1000, TOKEN)

    assert page.entries == []
