"""zramfs.core.chunks: the same objects as page by page, and corrupt ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pages import make_page, part_of_size
from zramfs.core.chunks import compress_pages, decompress_pages
from zramfs.core.codecs import DECOMPRESS_ERRORS, HUGE_CLASS_SIZE, open_codec
from zramfs.units import PAGE_SIZE

LZ4 = open_codec("lz4")
KINDS = (
    *("zero", "same:1122334455667788", "near", "text", "half", "part:1", "part:100"),
    *("part:3000", "part:3587", "part:3588", "part:4000", "part:4070", "rand"),
)


def compress(page: bytes) -> bytes:
    return bytes(LZ4.compress(page))


def decompress(*objects: bytes) -> bytes | None:
    return decompress_pages(objects, np.array([len(stored) for stored in objects]))


def decompress_singly(stored: bytes) -> bytes | None:
    if len(stored) == PAGE_SIZE:
        return stored
    try:
        page = LZ4.decompress(stored)
    except DECOMPRESS_ERRORS:
        return None
    return page if len(page) == PAGE_SIZE else None


def assert_same_objects(pages: list[bytes]) -> None:
    objects = compress_pages(memoryview(b"".join(pages)))

    expected = [compress(page) for page in pages]
    if objects is None:
        nr_bytes = sum(min(PAGE_SIZE, len(stored) + 8) for stored in expected)
        assert nr_bytes > len(pages) * (PAGE_SIZE - 8)
        return
    for stored, alone in zip(objects, expected, strict=True):
        assert stored == alone or len(stored) == PAGE_SIZE > HUGE_CLASS_SIZE
        assert (len(stored) < HUGE_CLASS_SIZE) == (len(alone) < HUGE_CLASS_SIZE)


@pytest.mark.parametrize("nr_pages", [2, 3, 16, 256])
@pytest.mark.parametrize("kind", KINDS)
def test_an_object_is_that_of_the_page_alone(kind: str, nr_pages: int) -> None:
    assert_same_objects([make_page(kind, page) for page in range(nr_pages)])


def test_so_it_is_among_many_others() -> None:
    kinds = [KINDS[page % len(KINDS)] for page in range(300)]

    assert_same_objects([make_page(kind, page) for page, kind in enumerate(kinds)])


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=40))
def test_so_it_is_among_any_others(kinds: list[str]) -> None:
    assert_same_objects([make_page(kind, page) for page, kind in enumerate(kinds)])


@given(st.lists(st.binary(min_size=1, max_size=64), min_size=1, max_size=16))
def test_so_it_is_of_any_pages(patterns: list[bytes]) -> None:
    assert_same_objects([(bits * PAGE_SIZE)[:PAGE_SIZE] for bits in patterns])


def test_where_nothing_gets_smaller_there_is_no_chunk() -> None:
    pages = b"".join(make_page("rand", page) for page in range(16))

    assert compress_pages(memoryview(pages)) is None


@pytest.mark.parametrize("page", [0, 7, 15])
def test_one_page_that_gets_smaller_is_enough(page: int) -> None:
    kinds = ["rand"] * 16
    kinds[page] = "text"
    pages = b"".join(make_page(kind, at) for at, kind in enumerate(kinds))

    objects = compress_pages(memoryview(pages))

    assert objects
    assert [len(stored) for stored in objects].count(PAGE_SIZE) == 15
    assert objects[page] == compress(make_page("text", page))


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=40))
def test_pages_come_back_as_they_were(kinds: list[str]) -> None:
    pages = [make_page(kind, page) for page, kind in enumerate(kinds)]
    objects = [min(page, compress(page), key=len) for page in pages]

    assert decompress(*objects) == b"".join(pages)


def test_the_largest_object_comes_back_as_it_was() -> None:
    page = make_page(part_of_size(HUGE_CLASS_SIZE - 1))

    assert decompress(compress(page), compress(page)) == 2 * page


@st.composite
def broken_objects(draw: st.DrawFn) -> bytes:
    """Something near an object: cut, stretched, or with bytes of its own."""
    kind = draw(st.sampled_from(["text", "half", "near", "part:100", "part:3000"]))
    stored = bytearray(compress(make_page(kind)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(stored) - 1))
        stored[at] = draw(st.integers(0, 255))
    end = draw(st.integers(1, len(stored) + 20))
    return bytes(stored[:end].ljust(end, draw(st.sampled_from([b"\0", b"\xff"]))))


@given(
    st.lists(st.one_of(broken_objects(), st.binary(min_size=1, max_size=99))),
    st.integers(0, 3),
)
def test_corrupt_objects_give_what_they_give_alone(
    broken: list[bytes], nr_whole: int
) -> None:
    whole = nr_whole * [compress(make_page("text"))]
    objects = [*whole, *broken, compress(make_page("half"))]
    singly = [decompress_singly(stored) for stored in objects]

    pages = [page for page in singly if page is not None]
    complete = len(pages) == len(objects)
    assert decompress(*objects) == (b"".join(pages) if complete else None)


def test_an_empty_object_is_corrupt() -> None:
    assert decompress(compress(make_page("text")), b"") is None
