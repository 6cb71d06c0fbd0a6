"""zramfs.core.codecs: the kernel's sizes, and objects that are none."""

import struct
from contextlib import suppress

import pytest

from tests.pages import make_page
from zramfs.core.codecs import (
    ALGORITHMS,
    DECOMPRESS_ERRORS,
    DEFAULT_ALGORITHM,
    HUGE_CLASS_SIZE,
    open_codec,
)
from zramfs.errors import InvalidValue
from zramfs.units import PAGE_SIZE

KINDS = ("text", "half", "near", "part:100", "part:1000", "part:3000")

# compr_data_size that Linux 7.3 showed with one such page stored.
KERNEL_SIZES = {
    "lz4": (62, 2082, 33, 128, 1032, 3036),
    "lz4hc": (62, 2074, 33, 127, 1027, 3027),
    "zstd": (54, 2075, 33, 120, 1023, 3020),
    "deflate": (67, 2108, 28, 135, 1072, 3060),
}
SIZES = [
    (name, kind, size)
    for name, sizes in KERNEL_SIZES.items()
    for kind, size in zip(KINDS, sizes, strict=True)
]


def test_the_algorithms_are_in_the_order_of_the_kernel() -> None:
    assert ALGORITHMS == ("lz4", "lz4hc", "zstd", "deflate")


def test_the_default_algorithm_is_one_of_them() -> None:
    assert DEFAULT_ALGORITHM in ALGORITHMS


def test_a_codec_knows_its_name() -> None:
    assert [open_codec(name).name for name in ALGORITHMS] == list(ALGORITHMS)


@pytest.mark.parametrize("name", ["lzo", "lzo-rle", "842", "LZ4", "lz4 ", ""])
def test_an_unknown_algorithm_is_refused_with_a_list(name: str) -> None:
    message = rf"no algorithm '{name}' here, only: lz4 lz4hc zstd deflate"

    with pytest.raises(InvalidValue, match=message):
        open_codec(name)


@pytest.mark.parametrize(("name", "kind", "size"), SIZES)
def test_a_page_gets_as_small_as_in_the_kernel(name: str, kind: str, size: int) -> None:
    assert len(open_codec(name).compress(make_page(kind))) == size


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("kind", [*KINDS, "zero", "same:7", "rand"])
def test_a_page_comes_back_as_it_was(name: str, kind: str) -> None:
    codec = open_codec(name)
    page = make_page(kind)

    assert codec.decompress(bytes(codec.compress(page))) == page


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("view", [bytes, bytearray, memoryview])
def test_a_page_may_be_any_bytes(
    name: str, view: type[bytes | bytearray | memoryview]
) -> None:
    codec = open_codec(name)
    page = make_page("half")

    assert codec.decompress(view(codec.compress(view(page)))) == page


@pytest.mark.parametrize("name", ALGORITHMS)
def test_noise_is_over_the_limit_for_raw_pages(name: str) -> None:
    assert len(open_codec(name).compress(make_page("rand"))) >= HUGE_CLASS_SIZE


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("stored", [b"", b"\xff", b"\xff" * 100, b"no such thing"])
def test_of_what_is_no_object_no_page_comes(name: str, stored: bytes) -> None:
    page = b""
    with suppress(*DECOMPRESS_ERRORS):
        page = open_codec(name).decompress(stored)

    assert len(page) != PAGE_SIZE


@pytest.mark.parametrize("name", ALGORITHMS)
def test_half_an_object_does_not_give_a_page(name: str) -> None:
    codec = open_codec(name)
    stored = bytes(codec.compress(make_page("half")))
    page = b""
    with suppress(*DECOMPRESS_ERRORS):
        page = codec.decompress(stored[: len(stored) // 2])

    assert len(page) != PAGE_SIZE


@pytest.mark.parametrize("claimed", [1 << 33, 1 << 60, 1 << 62])
def test_a_zstd_frame_that_claims_to_be_enormous_is_an_error(claimed: int) -> None:
    single_segment_size_of_8_bytes = 0xE0
    frame = struct.pack("<IBQ", 0xFD2FB528, single_segment_size_of_8_bytes, claimed)

    with pytest.raises(DECOMPRESS_ERRORS):
        open_codec("zstd").decompress(frame + bytes(20))
