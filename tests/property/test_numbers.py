"""The parsers against the C code that they stand for, said again in its own way.

``lib/kstrtox.c`` and ``lib/cmdline.c``: the text is a C string, read byte by byte
up to its NUL, in 64-bit arithmetic.
"""

import errno
import os

import hypothesis.strategies as st
from hypothesis import example, given

from zramfs.errors import InvalidValue, OutOfRange
from zramfs.units import (
    PAGE_SIZE,
    human_size,
    kstrtoint,
    kstrtoull,
    memparse,
    next_args,
    page_align,
)

U64 = 1 << 64

texts = st.one_of(
    st.text("0123456789abcdefxXKkMmGgTtPpEe+- \n", max_size=24),
    st.from_regex(r"\A\+?(0[xX]?)?[0-9a-fA-F]{0,22}[KMGTPEkmgtpe]?\n{0,2}\Z"),
    st.text(max_size=4),
    st.integers(0, 2 * U64).map(str),
)


class CString:
    """A C string and where one reads in it."""

    def __init__(self, text: str) -> None:
        self.codes = [ord(character) for character in text] + [0, 0, 0]
        self.at = 0

    def __getitem__(self, ahead: int) -> str:
        return chr(self.codes[self.at + ahead])


def digit_value(character: str) -> int:
    """Return what the character is worth as a digit; 99 if it is none."""
    if "0" <= character <= "9":
        return ord(character) - ord("0")
    if "a" <= character <= "f" or "A" <= character <= "F":
        return (ord(character) | 0x20) - ord("a") + 10
    return 99


def fix_up_radix(string: CString, base: int) -> int:
    if base == 0:
        base = 10
        if string[0] == "0":
            hexadecimal = string[1] in "xX" and digit_value(string[2]) < 16
            base = 16 if hexadecimal else 8
    if base == 16 and string[0] == "0" and string[1] in "xX":
        string.at += 2
    return base


def parse_integer(string: CString, base: int) -> tuple[int, int, bool]:
    """Return the value, modulo 2^64, its digits, and whether it overflowed."""
    value = nr_digits = 0
    overflow = False
    while (digit := digit_value(string[0])) < base:
        value = value * base + digit
        overflow = overflow or value >= U64
        nr_digits += 1
        string.at += 1
    return value % U64, nr_digits, overflow


def c_memparse(text: str) -> int | None:
    """Return what memparse() does, None if it does not move on."""
    string = CString(text)
    value, nr_digits, _ = parse_integer(string, fix_up_radix(string, 0))
    if not nr_digits:
        return None
    shifts = {"K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
    shifts |= {suffix.lower(): shift for suffix, shift in shifts.items()}
    return (value << shifts.get(string[0], 0)) % U64


def c_kstrtoull(text: str, base: int, maximum: int) -> int:
    """Return what the function of that type does, a negative errno if it fails."""
    string = CString(text)
    if string[0] == "+":
        string.at += 1
    value, nr_digits, overflow = parse_integer(string, fix_up_radix(string, base))
    if overflow:
        return -errno.ERANGE
    if not nr_digits:
        return -errno.EINVAL
    if string[0] == "\n":
        string.at += 1
    if string[0] != "\0":
        return -errno.EINVAL
    return value if value <= maximum else -errno.ERANGE


def c_kstrtoint(text: str) -> int:
    """Return what the function of that type does, an errno below -2^64 if it fails."""
    negative = text[:1] == "-"
    digits = text[1:] if negative else text
    if negative and digits[:1] == "+":  # only the unsigned function takes a plus
        return -errno.EINVAL - U64
    value = c_kstrtoull(digits, 10, U64 - 1)
    if value < 0:
        return value - U64
    value = -value if negative else value
    return value if -(1 << 31) <= value < 1 << 31 else -errno.ERANGE - U64


def isspace(character: str) -> bool:
    return character in " \t\n\v\f\r\xa0"


def skip_spaces(string: CString) -> None:
    while isspace(string[0]):
        string.at += 1


def c_string(characters: list[str], start: int) -> str:
    return "".join(characters[start : characters.index("\0", start)])


def measure(characters: list[str], *, in_quote: bool) -> tuple[int, int]:
    """Return the length of an argument, and where its equals sign is, or 0."""
    equals = length = 0
    while (character := characters[length]) != "\0":
        if isspace(character) and not in_quote:
            break
        if equals == 0 and character == "=":
            equals = length
        if character == '"':
            in_quote = not in_quote
        length += 1
    return length, equals


def c_next_arg(string: CString) -> tuple[str, str | None]:
    """Cut off one argument, writing NULs into a copy of the string as the C does."""
    quoted = string[0] == '"'
    string.at += quoted
    characters = [chr(code) for code in string.codes[string.at :]]
    length, equals = measure(characters, in_quote=quoted)
    value_at = None
    if equals:
        characters[equals] = "\0"
        value_at = equals + 1
        if characters[value_at] == '"':
            value_at += 1
            if characters[length - 1] == '"':
                characters[length - 1] = "\0"
    if quoted and length > 0 and characters[length - 1] == '"':
        characters[length - 1] = "\0"
    if characters[length] != "\0":
        characters[length] = "\0"
        string.at += 1
    string.at += length
    skip_spaces(string)
    value = None if value_at is None else c_string(characters, value_at)
    return c_string(characters, 0), value


def latin_1(word: str | None) -> str | None:
    """Return *word* with a letter for each of its bytes."""
    return None if word is None else os.fsencode(word).decode("latin-1")


def c_next_args(text: str) -> list[tuple[str, str | None]]:
    string = CString(text)
    found = []
    skip_spaces(string)
    while string[0] != "\0":
        found.append(c_next_arg(string))
    return found


latin = st.text('ab="  \n\t\xa0\xe9\xc3', max_size=16)


@given(latin)
@example('"a="b""')
@example('"a=b"c"')
@example('a="b"c"')
@example('a="')
@example('"="')
@example('""=""')
def test_next_args_is_the_kernels(text: str) -> None:
    found = next_args(os.fsdecode(text.encode("latin-1")))

    assert [(latin_1(key), latin_1(value)) for key, value in found] == c_next_args(text)


@given(
    st.one_of(
        texts.filter(lambda text: "\0" not in text),
        st.integers(-(1 << 33), 1 << 33).map(str),
        st.text("+-0129 \n", max_size=5),
    )
)
@example("-18446744073709551615")
@example("-2147483648")
@example("-+1")
def test_kstrtoint_is_the_kernels(text: str) -> None:
    try:
        answer = kstrtoint(text)
    except (InvalidValue, OutOfRange) as error:
        answer = -error.errno - U64  # apart from every number

    assert answer == c_kstrtoint(text)


@given(texts.filter(lambda text: "\0" not in text))
@example("0x")
@example("0xg")
@example("08")
@example("1e3")
@example("K")
@example("18446744073709551616K")
def test_memparse_is_the_kernels(text: str) -> None:
    answer: int | None
    try:
        answer = memparse(text)
    except InvalidValue:
        answer = None

    assert answer == c_memparse(text)


@given(
    texts.filter(lambda text: "\0" not in text),
    st.sampled_from([0, 10]),
    st.sampled_from([255, 65535, U64 - 1]),
)
@example("18446744073709551616\n\n", 10, U64 - 1)
@example("65536 ", 10, 65535)
@example("+", 0, 255)
@example("08", 0, 255)
def test_kstrtoull_is_the_kernels(text: str, base: int, maximum: int) -> None:
    try:
        answer = kstrtoull(text, base=base, maximum=maximum)
    except (InvalidValue, OutOfRange) as error:
        answer = -error.errno

    assert answer == c_kstrtoull(text, base, maximum)


@given(st.integers(0, U64 - 1))
def test_page_align_is_the_macro(size: int) -> None:
    assert page_align(size) == -(-size // PAGE_SIZE) * PAGE_SIZE % U64


@given(st.integers(1, 60), st.integers(0, 1023))
def test_a_human_size_is_read_back_as_about_the_same(bits: int, low: int) -> None:
    size = (1 << bits) + low
    text = human_size(size)

    number = float(text[:-1])
    assert 0.95 * size <= number * memparse(f"1{text[-1]}") <= 1.05 * size
