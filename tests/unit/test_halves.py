"""zramfs.core.halves: many pages compressed beside each other."""

from collections.abc import Callable

import pytest

from tests.pages import make_page
from zramfs.core.chunks import compress_pages
from zramfs.core.halves import compress_halves
from zramfs.core.steps import Work


class Later:
    """Work that is done when it is waited for."""

    def __init__(self) -> None:
        self.nr_begun = self.nr_ended = 0

    def begin(self, work: Work) -> Callable[[], None]:
        self.nr_begun += 1

        def wait() -> None:
            work.run()
            self.nr_ended += 1

        return wait


def pages(kind: str, nr_pages: int) -> memoryview:
    return memoryview(b"".join(make_page(kind, page) for page in range(nr_pages)))


@pytest.mark.parametrize("nr_pages", [64, 65, 256])
def test_two_halves_are_the_whole(nr_pages: int) -> None:
    later = Later()

    objects = compress_halves(pages("text", nr_pages), later)

    assert objects == compress_pages(pages("text", nr_pages))
    assert later.nr_begun == later.nr_ended == 1


def test_a_few_are_not_worth_it() -> None:
    later = Later()

    assert compress_halves(pages("text", 63), later)
    assert not later.nr_begun


def test_without_another_thread_there_is_one_whole() -> None:
    assert compress_halves(pages("text", 64), None) == compress_pages(pages("text", 64))


def test_if_one_half_gets_no_smaller_there_are_no_objects() -> None:
    data = memoryview(bytes(pages("text", 64)) + bytes(pages("rand", 64)))

    assert compress_halves(data, Later()) is None


def test_the_other_half_has_ended_also_if_the_first_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = Later()
    halves: list[int] = []

    def fail_first(data: memoryview) -> None:
        halves.append(len(data))
        if len(halves) == 1:
            raise MemoryError

    monkeypatch.setattr("zramfs.core.halves.compress_pages", fail_first)

    with pytest.raises(MemoryError):
        compress_halves(pages("text", 64), later)

    assert later.nr_ended == 1
