"""The runner: carries out the commands of a transcript on a target.

A target is whatever has attributes and pages: the core, a mount, a real zram
device. It answers as system calls do, failures being OSError.
"""

import codecs
import errno
import re
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

from tests.pages import make_page
from zramfs.units import PAGE_SIZE

MM_COLUMNS = [
    *("orig", "compr", "used", "limit", "max"),
    *("same", "compacted", "huge", "huge_since"),
]
POOL_COLUMNS = {"used", "max", "compacted"}
BD_COLUMNS = ["count", "reads", "writes"]
IO_COLUMNS = ["failed_reads", "failed_writes", "invalid_io", "notify_free"]


class Attributes(Protocol):
    """The control files."""

    def store(self, name: str, data: bytes) -> int:
        """Write *data* at once and return how many bytes were taken."""

    def show(self, name: str) -> bytes:
        """Return all that can be read."""


class Pages(Protocol):
    """The swapfile, or the block device."""

    def read(self, offset: int, length: int) -> bytes:
        """Read once."""

    def write(self, offset: int, data: bytes) -> int:
        """Write once and return how many bytes were taken."""

    def discard(self, offset: int, length: int) -> None:
        """Discard a range."""


class Target(Protocol):
    """A device without a disksize."""

    @property
    def attributes(self) -> Attributes:
        """Its control files."""

    @property
    def pages(self) -> Pages:
        """Its pages."""

    def hold(self) -> Callable[[], None]:
        """Open the device, and return what closes it."""

    def block_state(self) -> bytes:
        """Return all of block_state."""

    def wait(self, seconds: int) -> None:
        """Let time go by."""

    def make_backing(self, nr_pages: int) -> str:
        """Make a backing device, and return its path."""

    def read_block(self, path: str, block: int) -> bytes:
        """Return what is in a block of the backing device at *path*."""

    def spoil_block(self, path: str, block: int) -> None:
        """Make a block unreadable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some commands and what they must answer."""

    commands: list[str]
    answers: list[str]
    line: int


def parse(path: Path) -> Iterator[Block]:
    """Yield the blocks of the transcript at *path*."""
    lines = [
        (number, line)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if not line.startswith("#")
    ]
    for empty, group in groupby(lines, lambda numbered: not numbered[1]):
        if empty:
            continue
        block = list(group)
        texts = [line for _, line in block]
        divider = texts.index("---")
        yield Block(
            commands=texts[:divider], answers=texts[divider + 1 :], line=block[0][0]
        )


def unescape(text: str) -> bytes:
    """Return the bytes that *text* stands for: C escapes, quotes, a factor."""
    times = 1
    if match := re.fullmatch(r'"(.*)"(?: \* (\d+))?', text):
        text, times = match[1], int(match[2] or 1)
    return codecs.escape_decode(text.encode())[0] * times


def escape(data: bytes) -> str:
    return f'"{codecs.escape_encode(data)[0].decode()}"'


def tally(results: list[tuple[int, str]]) -> str:
    """Sum results up by page: ``16 ok (0..15), 16 EIO (16..31)``."""
    pages: dict[str, list[int]] = {}
    for page, result in results:
        pages.setdefault(result, []).append(page)
    if len(pages) == 1:
        return f"{len(results)} {results[0][1]}"
    return ", ".join(
        f"{len(where)} {result} ({where[0]}..{where[-1]})"
        for result, where in pages.items()
    )


def group(pages: list[tuple[int, str]]) -> str:
    """Put pages with the same flags together: ``0-3 ......, 4 ..h..n``."""
    runs: list[tuple[int, int, str]] = []
    for index, flags in pages:
        if runs and runs[-1][1:] == (index - 1, flags):
            runs[-1] = runs[-1][0], index, flags
        else:
            runs.append((index, index, flags))
    return ", ".join(
        f"{first} {flags}" if first == last else f"{first}-{last} {flags}"
        for first, last, flags in runs
    )


class Runner:
    """Carries commands out, and answers as a transcript does."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._release: Callable[[], None] | None = None
        self._backings: list[str] = []

    def close(self) -> None:
        """Close the device if a transcript ended before it did."""
        if self._release:
            self.release()

    def answer(self, line: str) -> str:
        """Carry out the command *line*; a failure is answered by its errno."""
        try:
            if match := re.fullmatch(r"([\w/]+) <(?: (.*))?", line):
                return self.store(match[1], unescape(match[2] or ""))
            name, *words = line.split()
            command: Callable[..., str] = getattr(self, name)
            return command(*words)
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    def store(self, name: str, data: bytes) -> str:
        for number, path in enumerate(self._backings):
            data = data.replace(f"{{{number}}}".encode(), path.encode())
        taken = self._target.attributes.store(name, data)
        return "ok" if taken == len(data) else f"ok {taken}"

    def cat(self, name: str) -> str:
        shown = self._target.attributes.show(name)
        for number, path in enumerate(self._backings):
            shown = shown.replace(path.encode(), f"{{{number}}}".encode())
        return escape(shown)

    def _columns(self, attribute: str, names: list[str]) -> dict[str, str]:
        values = self._target.attributes.show(attribute).decode().split()
        return dict(zip(names, values, strict=True))

    def mm(self) -> str:
        columns = self._columns("mm_stat", MM_COLUMNS).items()
        return " ".join(f"{k}={v}" for k, v in columns if k not in POOL_COLUMNS)

    def pool(self) -> str:
        columns = self._columns("mm_stat", MM_COLUMNS).items()
        return " ".join(f"{k}={v}" for k, v in columns if k in POOL_COLUMNS)

    def io(self) -> str:
        columns = self._columns("io_stat", IO_COLUMNS).items()
        return " ".join(f"{k}={v}" for k, v in columns)

    def bd(self) -> str:
        columns = self._columns("bd_stat", BD_COLUMNS).items()
        return " ".join(f"{k}={v}" for k, v in columns)

    def backing(self, nr_pages: str) -> str:
        self._backings.append(self._target.make_backing(int(nr_pages)))
        return "ok"

    def blocks(self, number: str, count: str, kind: str) -> str:
        path = self._backings[int(number)]
        pages = {make_page(kind, index): str(index) for index in range(64)}
        return " ".join(
            pages.get(self._target.read_block(path, block), "-")
            for block in range(int(count))
        )

    def spoil(self, number: str, block: str, count: str) -> str:
        for each in range(int(block), int(block) + int(count)):
            self._target.spoil_block(self._backings[int(number)], each)
        return "ok"

    def fill(self, page: str, count: str, kind: str) -> str:
        return self._each(page, count, lambda index: self._fill_page(index, kind))

    def check(self, page: str, count: str, kind: str) -> str:
        return self._each(page, count, lambda index: self._check_page(index, kind))

    def _each(self, page: str, count: str, act: Callable[[int], str]) -> str:
        results = []
        for index in range(int(page), int(page) + int(count)):
            try:
                results.append((index, act(index)))
            except OSError as error:
                results.append((index, errno.errorcode[error.errno or 0]))
        return tally(results)

    def _fill_page(self, index: int, kind: str) -> str:
        page = make_page(kind, index)
        written = self._target.pages.write(index * PAGE_SIZE, page)
        return "ok" if written == PAGE_SIZE else "short"

    def _check_page(self, index: int, kind: str) -> str:
        page = self._target.pages.read(index * PAGE_SIZE, PAGE_SIZE)
        if len(page) != PAGE_SIZE:
            return "short"
        return "match" if page == make_page(kind, index) else "differ"

    def fillv(self, page: str, count: str, kind: str) -> str:
        return self.pwrite(int(page) * PAGE_SIZE, int(count) * PAGE_SIZE, kind)

    def pwrite(self, offset: str | int, length: str | int, kind: str) -> str:
        first, nr_pages = int(offset) // PAGE_SIZE, -(-int(length) // PAGE_SIZE)
        data = b"".join(make_page(kind, first + index) for index in range(nr_pages))
        written = self._target.pages.write(int(offset), data[: int(length)])
        return f"ok {written}"

    def pread(self, offset: str, length: str) -> str:
        data = self._target.pages.read(int(offset), int(length))
        return f"ok {len(data)} crc {zlib.crc32(data):08x}"

    def discard(self, page: str, count: str) -> str:
        self._target.pages.discard(int(page) * PAGE_SIZE, int(count) * PAGE_SIZE)
        return "ok"

    def thin(self, page: str, count: str, step: str) -> str:
        for index in range(int(count)):
            if index % int(step):
                self.discard(str(int(page) + index), "1")
        return "ok"

    def state(self) -> str:
        lines = self._target.block_state().decode().splitlines()
        pages = [(int(index), flags) for index, _, flags in map(str.split, lines)]
        return group(pages) or "(empty)"

    def wait(self, seconds: str) -> str:
        self._target.wait(int(seconds))
        return "ok"

    def hold(self) -> str:
        self._release = self._target.hold()
        return "open"

    def release(self) -> str:
        assert self._release, "release without hold"
        self._release()
        self._release = None
        return "released"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A command, what must be answered, and what was."""

    line: int
    """Where its block begins in the transcript."""
    command: str
    expected: str
    answered: str


def play(path: Path, target: Target) -> Generator[Exchange, None, None]:
    """Carry out the transcript at *path*, a command at each step."""
    runner = Runner(target)
    try:
        for block in parse(path):
            for command, expected in zip(block.commands, block.answers, strict=True):
                yield Exchange(
                    line=block.line,
                    command=command,
                    expected=expected,
                    answered=runner.answer(command),
                )
    finally:
        runner.close()
