"""zramfs.units: numbers as the kernel takes them, to the errno."""

import pytest

from zramfs.errors import InvalidValue, OutOfRange
from zramfs.units import (
    human_size,
    kstrtoint,
    kstrtoull,
    memparse,
    next_args,
    page_align,
)

K, M, G, T, P, E = (1 << shift for shift in (10, 20, 30, 40, 50, 60))
U64_MAX = (1 << 64) - 1

SIZES = {
    "0": 0,
    "00": 0,
    "0M": 0,
    "1": 1,
    "4096": 4096,
    "1k": K,
    "1K": K,
    "1m": M,
    "1M": M,
    "1g": G,
    "1G": G,
    "1t": T,
    "1T": T,
    "1p": P,
    "1P": P,
    "1e": E,
    "1E": E,
    "15E": 15 * E,
    "1e3": E,
    "1M\n": M,
    "1M\n\n": M,
    "1M junk": M,
    "1Mb": M,
    "1MM": M,
    "1KB": K,
    "10 M": 10,
    "1.5M": 1,
    "4096garbage": 4096 * G,
    "8K8": 8 * K,
    "010": 8,
    "00004096": 0o40,  # 9 is no octal digit
    "08": 0,
    "0x1000": 4096,
    "0X1000": 4096,
    "0x10k": 16 * K,
    "0x100000": M,
    "0xfFg": 255 * G,
    "0xE": 14,
    "0x": 0,
    "0xg": 0,
    "0b1": 0,
    "16E": 0,
    "17179869184G": 0,
    "18446744073709551615": U64_MAX,
    "18446744073709551616": 0,
    "18446744073709551617": 1,
    "0xffffffffffffffffff": U64_MAX,
}

NOT_SIZES = (
    *("", "\n", "-1", "-4096", "+1M", "abc", " 1M", "\t4096", "\n4096"),
    *("M", "K", "k", ".5M", "#1M", "x10", "\u0661", "\u212a"),
)

NUMBERS = {
    "0": 0,
    "00": 0,
    "+0": 0,
    "0\n": 0,
    "1": 1,
    "+1": 1,
    "+3\n": 3,
    "01": 1,
    "010": 10,
    "65535": 65535,
    "18446744073709551615": U64_MAX,
    "0018446744073709551615\n": U64_MAX,
}

NOT_NUMBERS = (
    *("", "\n", "+", "-", "-0", "-1", "++1", " 1", "1 ", "\n1", "1\n\n", "1\n "),
    *("1x", "0x0", "0x10", "1k", "1M", "abc", "+ 1", "1.0", "\u0661", "1\r"),
)

C_NUMBERS = {
    "0": 0,
    "10": 10,
    "010": 8,
    "+010": 8,
    "0x10": 16,
    "+0X1f\n": 31,
    "0xffffffffffffffff": U64_MAX,
}

SIGNED = {
    "0": 0,
    "-0": 0,
    "+7": 7,
    "-1\n": -1,
    "010": 10,
    "2147483647": 2147483647,
    "-2147483648": -2147483648,
}

NOT_SIGNED = (
    *("", "\n", "-", "+", "-+1", "+-1", "--1", "- 1", " -1", "-1 ", "-0x1", "1\n\n"),
    *("-99999999999x", "x", "\u0661"),
)

BEYOND_32_BITS = (
    *("2147483648", "-2147483649", "99999999999", "-18446744073709551615"),
    *("18446744073709551616", "-18446744073709551616 junk"),
)

WORDS: dict[str, list[tuple[str, str | None]]] = {
    "": [],
    " \t\n\v\f\r ": [],
    "a=1": [("a", "1")],
    "  a=1  ": [("a", "1")],
    "a=1 b=2\nc=3\t": [("a", "1"), ("b", "2"), ("c", "3")],
    "a": [("a", None)],
    "a=": [("a", "")],
    "=v": [("=v", None)],
    "=v=w": [("=v", "w")],
    "a=b=c": [("a", "b=c")],
    "a = v": [("a", None), ("=", None), ("v", None)],
    "a= v": [("a", ""), ("v", None)],
    'a="1"': [("a", "1")],
    'a="1 2" b': [("a", "1 2"), ("b", None)],
    'a="1\n2"': [("a", "1\n2")],
    'a="1': [("a", "1")],
    'a="1 b=2': [("a", "1 b=2")],
    'a="': [("a", "")],
    'a=""': [("a", "")],
    'a=1"2 3"4': [("a", '1"2 3"4')],
    'a="1"2': [("a", '1"2')],
    '"a=1 2"': [("a", "1 2")],
    '"a b"=1': [('a b"', "1")],
    '"a=1" b=2': [("a", "1"), ("b", "2")],
    '"a': [("a", None)],
    '"': [("", None)],
    '""': [("", None)],
    '"=v"': [("=v", None)],
    # One quote at the end is taken off once, by the value.
    '"a="1""': [("a", '1"')],
}


@pytest.mark.parametrize(("text", "size"), SIZES.items())
def test_memparse_takes_a_c_number_and_one_suffix(text: str, size: int) -> None:
    assert memparse(text) == size


@pytest.mark.parametrize("text", NOT_SIZES)
def test_memparse_refuses_what_does_not_begin_with_a_digit(text: str) -> None:
    with pytest.raises(InvalidValue, match="not a size"):
        memparse(text)


@pytest.mark.parametrize(("text", "number"), NUMBERS.items())
def test_kstrtoull_takes_decimal_digits_and_one_newline(text: str, number: int) -> None:
    assert kstrtoull(text) == number


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_kstrtoull_refuses_anything_around_the_digits(text: str) -> None:
    with pytest.raises(InvalidValue, match="not a number"):
        kstrtoull(text)


@pytest.mark.parametrize(("text", "number"), C_NUMBERS.items())
def test_kstrtoull_with_base_0_takes_the_base_from_the_text(
    text: str, number: int
) -> None:
    assert kstrtoull(text, base=0) == number


@pytest.mark.parametrize("text", ["08", "0x", "0xg", "0b1", "-0x1", "x1"])
def test_kstrtoull_with_base_0_refuses_what_c_does_not_read_whole(text: str) -> None:
    with pytest.raises(InvalidValue, match="not a number"):
        kstrtoull(text, base=0)


@pytest.mark.parametrize("text", ["65536", "65536\n", "99999999999999999999"])
def test_kstrtoull_says_erange_above_its_maximum(text: str) -> None:
    with pytest.raises(OutOfRange, match="too large"):
        kstrtoull(text, maximum=65535)


def test_kstrtoull_says_erange_of_an_overflow_whatever_follows() -> None:
    with pytest.raises(OutOfRange, match="too large"):
        kstrtoull("18446744073709551616 junk")


def test_kstrtoull_says_einval_of_junk_behind_a_number_above_its_maximum() -> None:
    with pytest.raises(InvalidValue, match="not a number"):
        kstrtoull("65536 junk", maximum=65535)


@pytest.mark.parametrize(("text", "number"), SIGNED.items())
def test_kstrtoint_takes_a_sign_decimal_digits_and_one_newline(
    text: str, number: int
) -> None:
    assert kstrtoint(text) == number


@pytest.mark.parametrize("text", NOT_SIGNED)
def test_kstrtoint_refuses_anything_around_the_digits(text: str) -> None:
    with pytest.raises(InvalidValue, match="not a number"):
        kstrtoint(text)


@pytest.mark.parametrize("text", BEYOND_32_BITS)
def test_kstrtoint_says_erange_beyond_32_bits(text: str) -> None:
    with pytest.raises(OutOfRange, match="too large"):
        kstrtoint(text)


@pytest.mark.parametrize(("text", "words"), WORDS.items())
def test_next_args_splits_text_into_keys_and_values(
    text: str, words: list[tuple[str, str | None]]
) -> None:
    assert list(next_args(text)) == words


@pytest.mark.parametrize(
    ("size", "aligned"),
    [
        (0, 0),
        (1, 4096),
        (4095, 4096),
        (4096, 4096),
        (4097, 8192),
        (U64_MAX - 4095, U64_MAX - 4095),
        (U64_MAX - 4094, 0),
        (U64_MAX, 0),
    ],
)
def test_page_align_rounds_up_and_wraps_at_2_to_the_64(size: int, aligned: int) -> None:
    assert page_align(size) == aligned


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1.0K"),
        (1536, "1.5K"),
        (M, "1.0M"),
        (64 * G, "64.0G"),
        (7 * T, "7.0T"),
        (E, "1.0E"),
        (5000 * E, "5000.0E"),
    ],
)
def test_human_size_has_one_digit_behind_the_point(size: int, text: str) -> None:
    assert human_size(size) == text
