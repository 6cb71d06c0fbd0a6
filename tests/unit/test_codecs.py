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
    Codec,
    Params,
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

# compr_data_size that Linux 7.3 showed with four pages of text and four halves.
KERNEL_LEVELS = {
    ("lz4", 1): 8579,
    ("lz4", 9): 8992,
    ("lz4", 100): 9600,
    ("lz4hc", 1): 8547,
    ("lz4hc", 9): 8547,
    ("zstd", 1): 8491,
    ("zstd", 9): 8495,
    ("zstd", -5): 8536,
    ("zstd", -100000): 8 * PAGE_SIZE,
    ("deflate", 1): 8840,
    ("deflate", 9): 8717,
}

# Where our libraries are not of the kernel's version, and what they give instead.
OTHER_VERSIONS = {
    # python-lz4 finds other matches than the kernel's LZ4 where it skips ahead.
    ("lz4", 9): 9205,
    # The kernel's zlib is 1.1.3, whose fast deflate finds other matches than ours.
    ("deflate", 1): 8829,
}

REFUSED_LEVELS = {
    "lz4": (-5, -100000, 0, 65538, 1 << 31),
    "lz4hc": (-5, 100, -100000, 0, 17),
    "zstd": (100, 23, -131073, -(1 << 31)),
    "deflate": (-5, 100, -100000, -2, 10),
}
LIMITS = {
    "lz4": (1, 65537),
    "lz4hc": (1, 16),
    "zstd": (-131072, 22),
    "deflate": (-1, 9),
}
WINDOWS = (*range(-15, -8), *range(9, 16))
REFUSED_WINDOWS = (-16, -8, -1, 0, 1, 8, 16, 31, 47, 1 << 31)
DICTIONARY = make_page("half", 3) + make_page("text", 7)
ZSTD_MAGIC = struct.pack("<I", 0xEC30A437)


def stored_size(codec: Codec, kind: str, page: int) -> int:
    size = len(codec.compress(make_page(kind, page)))
    return size if size < HUGE_CLASS_SIZE else PAGE_SIZE


def keeps(codec: Codec, *kinds: str) -> bool:
    """Whether pages of *kinds* come back."""
    pages = [make_page(kind, 5) for kind in kinds]
    return pages == [codec.decompress(bytes(codec.compress(page))) for page in pages]


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


@pytest.mark.parametrize(("name", "level"), KERNEL_LEVELS)
def test_a_level_does_what_it_does_in_the_kernel(name: str, level: int) -> None:
    codec = open_codec(name, Params(level=level))

    texts = [stored_size(codec, "text", page) for page in range(4)]
    halves = [stored_size(codec, "half", page) for page in range(4, 8)]
    sizes = KERNEL_LEVELS | OTHER_VERSIONS
    assert sum(texts + halves) == sizes[name, level]
    assert keeps(codec, "text", "half")


def test_what_other_versions_give_is_another_size() -> None:
    assert KERNEL_LEVELS.items().isdisjoint(OTHER_VERSIONS.items())
    assert KERNEL_LEVELS.keys() >= OTHER_VERSIONS.keys()


@pytest.mark.parametrize(
    ("name", "level"),
    [(name, level) for name, levels in REFUSED_LEVELS.items() for level in levels],
)
def test_a_level_that_the_kernel_refuses_is_refused(name: str, level: int) -> None:
    with pytest.raises(InvalidValue, match=f"{name} has no level {level}, only "):
        open_codec(name, Params(level=level))


@pytest.mark.parametrize(
    ("name", "level"),
    [(name, level) for name, levels in LIMITS.items() for level in levels],
)
def test_the_first_and_the_last_level_work(name: str, level: int) -> None:
    assert keeps(open_codec(name, Params(level=level)), "text", "half", "rand")


@pytest.mark.parametrize(
    ("name", "level"), [("lz4", 1), ("lz4hc", 9), ("zstd", 3), ("deflate", -1)]
)
@pytest.mark.parametrize("kind", ["text", "half", "part:3000"])
def test_the_default_level_is_the_kernels(name: str, level: int, kind: str) -> None:
    default, named = open_codec(name), open_codec(name, Params(level=level))

    page = make_page(kind)
    assert bytes(default.compress(page)) == bytes(named.compress(page))


def test_lz4hc_has_nothing_above_level_12() -> None:
    page = make_page("half")
    most, above = (open_codec("lz4hc", Params(level=level)) for level in (12, 16))

    assert most.compress(page) == above.compress(page)


@pytest.mark.parametrize("winbits", WINDOWS)
def test_deflate_takes_these_windows(winbits: int) -> None:
    assert keeps(open_codec("deflate", Params(winbits=winbits)), "text", "half")


@pytest.mark.parametrize("winbits", REFUSED_WINDOWS)
def test_deflate_refuses_other_windows(winbits: int) -> None:
    with pytest.raises(InvalidValue, match=f"no window of {winbits} bits"):
        open_codec("deflate", Params(winbits=winbits))


@pytest.mark.parametrize("name", ["lz4", "lz4hc", "zstd"])
def test_other_algorithms_have_no_window(name: str) -> None:
    assert keeps(open_codec(name, Params(winbits=99)), "text")


@pytest.mark.parametrize("name", ["lz4", "lz4hc", "zstd"])
def test_a_dictionary_makes_pages_smaller_that_are_like_it(name: str) -> None:
    known, plain = open_codec(name, Params(dictionary=DICTIONARY)), open_codec(name)

    page = make_page("half", 3)
    assert len(known.compress(page)) < len(plain.compress(page)) // 2
    assert keeps(known, "half", "text", "rand")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_level_and_a_dictionary_go_together(name: str) -> None:
    params = Params(level=2, dictionary=DICTIONARY)

    assert keeps(open_codec(name, params), "half", "text", "rand")


def test_a_page_needs_its_dictionary_again() -> None:
    known = open_codec("zstd", Params(dictionary=DICTIONARY))
    stored = bytes(known.compress(make_page("half", 3)))
    page = b""
    with suppress(*DECOMPRESS_ERRORS):
        page = open_codec("zstd").decompress(stored)

    assert page != make_page("half", 3)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("dictionary", [b"", b"a", bytes(9), DICTIONARY * 20])
def test_any_bytes_are_a_dictionary(name: str, dictionary: bytes) -> None:
    assert keeps(open_codec(name, Params(dictionary=dictionary)), "half", "text")


@pytest.mark.parametrize("rest", [bytes(100), DICTIONARY])
def test_what_begins_like_a_zstd_dictionary_must_be_one(rest: bytes) -> None:
    params = Params(dictionary=ZSTD_MAGIC + rest)

    with pytest.raises(InvalidValue, match="zstd refuses the dictionary: "):
        open_codec("zstd", params)


def test_only_zstd_compresses_many_pages_at_once() -> None:
    many = [name for name in ALGORITHMS if open_codec(name).compress_many]

    assert many == ["zstd"]


@pytest.mark.parametrize(
    "params",
    [Params(), Params(level=19), Params(level=-7), Params(dictionary=DICTIONARY)],
)
@pytest.mark.parametrize("count", [1, 2, 40])
def test_many_pages_are_compressed_as_one_is(params: Params, count: int) -> None:
    codec = open_codec("zstd", params)
    pages = [make_page(kind, count) for kind in (*KINDS, "rand") * 6][:count]

    assert codec.compress_many
    assert codec.compress_many(pages) == list(map(codec.compress, pages))
