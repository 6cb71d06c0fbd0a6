"""Pages, sectors, and numbers as the kernel parses them.

The parsers take the text of one write(2), cut at its first NUL, and answer what
the kernel function of the same name answers, to the errno: ``lib/kstrtox.c`` and
``lib/cmdline.c`` of Linux 7.3. They never strip blanks.
"""

import os
from collections.abc import Iterator
from typing import Final, NewType

from zramfs.errors import InvalidValue, OutOfRange

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
SECTOR_SHIFT: Final = 9

PageIndex = NewType("PageIndex", int)
"""The number of a page of the swapfile."""

BlockIndex = NewType("BlockIndex", int)
"""The number of a page-sized place on the backing device."""

_S32_MAX: Final = (1 << 31) - 1
_U64: Final = (1 << 64) - 1
_SUFFIXES: Final = "KMGTPE"
_DIGITS: Final = "0123456789abcdef"


def page_align(size: int) -> int:
    """Round *size* bytes up to whole pages; wraps to 0 at 2^64, as PAGE_ALIGN."""
    return (size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1) & _U64


def _radix(text: str) -> tuple[int, str]:
    """Return the base that C gives *text*, and the text without ``0x``."""
    if not text.startswith("0"):
        return 10, text
    if text[1:2] in ("x", "X") and text[2:3].lower() in tuple(_DIGITS):
        return 16, text[2:]
    return 8, text


def _digits(text: str, base: int) -> int:
    """Return how many leading characters of *text* are digits in *base*."""
    allowed = _DIGITS[:base]
    count = 0
    while count < len(text) and text[count].lower() in allowed:
        count += 1
    return count


def memparse(text: str) -> int:
    """Parse a size: a C number and one optional suffix K M G T P E.

    Wraps silently at 2^64 and ignores whatever follows; InvalidValue if there
    is no digit at all. (Linux before 7.3 takes a lone suffix for zero.)
    """
    base, number = _radix(text)
    count = _digits(number, base)
    if not count:
        raise InvalidValue(f"not a size: {text!r}")
    value = int(number[:count], base)
    suffix = number[count : count + 1].upper()
    if suffix and suffix in _SUFFIXES:
        value <<= 10 * (_SUFFIXES.index(suffix) + 1)
    return value & _U64


def kstrtoull(text: str, *, maximum: int = _U64, base: int = 10) -> int:
    """Parse an unsigned number: optional ``+``, digits, at most one newline.

    OutOfRange above *maximum*, InvalidValue for anything else. *base* 0 takes
    the base from the text, as C does.
    """
    number = text.removeprefix("+")
    if base == 0:
        base, number = _radix(number)
    count = _digits(number, base)
    if not count:
        raise InvalidValue(f"not a number: {text!r}")
    value = int(number[:count], base)
    if value > _U64:
        raise OutOfRange(f"number too large: {text!r}")
    if number[count:] not in ("", "\n"):
        raise InvalidValue(f"not a number: {text!r}")
    if value > maximum:
        raise OutOfRange(f"number too large: {text!r}")
    return value


def number(text: str, *, maximum: int = _U64, base: int = 10) -> int:
    """Parse an unsigned number as `kstrtoull` does; InvalidValue if it is too large."""
    try:
        return kstrtoull(text, maximum=maximum, base=base)
    except OutOfRange as error:
        raise InvalidValue(str(error)) from error


_SPACES: Final = " \t\n\v\f\r\xa0"
"""Bytes for which the kernel's isspace() is true: the last is a blank of Latin-1."""


def next_args(text: str) -> Iterator[tuple[str, str | None]]:
    """Split *text* into ``key=value`` words, as next_arg() of lib/cmdline.c does.

    The value is None where there is no ``=`` behind the first character; it, or
    the whole word, may stand in double quotes, and then contains blanks.
    """
    # A character for each byte, as in C: a byte of an encoded letter is one, too.
    text = os.fsencode(text).decode("latin-1").lstrip(_SPACES)
    while text:
        is_quoted = text.startswith('"')
        end = _end_of_word(text)
        word = text[is_quoted:end]
        text = text[end:].lstrip(_SPACES)
        equals = word.find("=", 1)
        # One quote closes the value, or the word: never one each.
        if is_quoted or (equals > 0 and word.startswith('"', equals + 1)):
            word = word.removesuffix('"')
        if equals < 0:
            yield _recoded(word), None
        else:
            value = word[equals + 1 :].removeprefix('"')
            yield _recoded(word[:equals]), _recoded(value)


def _recoded(word: str) -> str:
    return os.fsdecode(word.encode("latin-1"))


def _end_of_word(text: str) -> int:
    """Return where the first word of *text* ends: at a blank outside of quotes."""
    in_quotes = False
    end = 0
    while end < len(text) and (in_quotes or text[end] not in _SPACES):
        in_quotes ^= text[end] == '"'
        end += 1
    return end


def kstrtoint(text: str) -> int:
    """Parse a signed 32-bit number in base 10; see `kstrtoull` for the rest."""
    negative = text.startswith("-")
    if text.startswith("-+"):
        raise InvalidValue(f"not a number: {text!r}")
    value = kstrtoull(text[negative:], maximum=_S32_MAX + negative)
    return -value if negative else value


def kstrtobool(text: str) -> bool:
    """Parse a truth value: by its first letter, or its first two for on and off."""
    first = text[:1].lower()
    if first and first in "eyt1":
        return True
    if first and first in "dnf0":
        return False
    switch = text[:2].lower()
    if switch not in ("on", "of"):
        raise InvalidValue(f"neither true nor false: {text!r}")
    return switch == "on"


def human_size(size: int) -> str:
    """Format *size* bytes for a person, in binary units: ``1.5M``."""
    exponent = (max(size, 1).bit_length() - 1) // 10
    if not exponent:
        return f"{size}B"
    exponent = min(exponent, len(_SUFFIXES))
    return f"{size / (1 << 10 * exponent):.1f}{_SUFFIXES[exponent - 1]}"
