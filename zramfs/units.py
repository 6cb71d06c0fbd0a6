"""Pages, sectors, and numbers as the kernel parses them.

The parsers take the text of one write(2), cut at its first NUL, and answer what
the kernel function of the same name answers, to the errno: ``lib/kstrtox.c`` and
``lib/cmdline.c`` of Linux 7.3. They never strip blanks.
"""

from typing import Final, NewType

from zramfs.errors import InvalidValue, OutOfRange

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
SECTOR_SHIFT: Final = 9

PageIndex = NewType("PageIndex", int)
"""The number of a page of the swapfile."""

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


def human_size(size: int) -> str:
    """Format *size* bytes for a person, in binary units: ``1.5M``."""
    exponent = (max(size, 1).bit_length() - 1) // 10
    if not exponent:
        return f"{size}B"
    exponent = min(exponent, len(_SUFFIXES))
    return f"{size / (1 << 10 * exponent):.1f}{_SUFFIXES[exponent - 1]}"
