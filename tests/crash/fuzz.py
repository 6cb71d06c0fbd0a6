"""Random operations on a real mount, held against a model, while workers die.

    python -m tests.crash.fuzz --seconds 1800 --seed 7

Reads, writes, discards, stores to attributes and resets, as the seed says; meanwhile
the worker is killed, and whoever takes over must go on as if nothing had been. What
is read is compared at once, everything at the end. A failure shows the last
operations, and the seed with which they come again (when exactly a worker dies does
not: the machine has its say in that).
"""

import argparse
import errno
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.integration.files import DISCARD, KEEP_SIZE, ZERO_RANGE, fallocate
from tests.integration.mounts import Mount, mounted
from tests.pages import make_page

PAGE_SIZE: Final = 4096
NR_PAGES: Final = 512
DISKSIZE: Final = NR_PAGES * PAGE_SIZE

KINDS: Final = ("zero", "same:7", "text", "half", "rand", "part:3587", "part:3588")

STORES: Final = {
    "compact": ("1",),
    "idle": ("all", "1", "0", "never"),
    "recompress": ("", "type=huge", "type=idle", "threshold=3000", "max_pages=9", "x"),
    "mem_used_max": ("0", "1"),
    "mem_limit": ("1G", "0", "x"),
    "zramfs/rw_page": ("always", "no_wb", "off", "sometimes"),
    "disksize": ("1M",),
    "comp_algorithm": ("zstd",),
    "algorithm_params": ("level=1",),
    "reset": ("1", "0"),
    "writeback_limit": ("9", "100000"),
    "writeback_limit_enable": ("0", "0", "1"),
    "compressed_writeback": ("0", "1"),
    "writeback": ("idle", "huge", "huge_idle", "page_indexes=0-99", "page_index=7"),
}
"""What is stored at any time: some of it is refused, while the swapfile is open."""

REFUSALS: Final = frozenset(
    {errno.EINVAL, errno.EBUSY, errno.ENOSPC, errno.EIO, errno.ERANGE}
)
"""With EIO for a writeback that comes to its limit, ENOSPC when no block is left."""

SHOWN: Final = (
    "mm_stat",
    "io_stat",
    "bd_stat",
    "stat",
    "disksize",
    "zramfs/rw_page_stat",
)

DEATHS: Final = r"worker \d+ .*: starting another"
"""What the log says of a worker that is killed."""


class Fuzz:
    """One mount, and what must be in it."""

    def __init__(self, mount: Mount, spill: Path, seed: int, *, kills: bool) -> None:
        self._mount = mount
        self._spill = spill
        self._random = random.Random(seed)
        self._dice = random.Random(~seed)  # when to kill: leaves the operations alone
        self._kills = kills
        self._killer: threading.Timer | None = None
        self._pages = bytearray(DISKSIZE)
        self._fd = -1
        self._worker = 0
        self.done: Counter[str] = Counter()
        """How often each operation was done."""
        self.nr_spilled = 0
        """Pages written back, in the lives that have ended."""
        self.last: deque[str] = deque(maxlen=20)
        """The last operations."""

    def run(self, seconds: float, most: int) -> None:
        """Do operations for so many *seconds*, and *most* at the most."""
        self._begin()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.done.total() < most:
            self._step()
        self._wait_for_killer()
        self._check_all()
        self._end()

    def _step(self) -> None:
        operations = (self._write, self._write_bytes, self._read, self._discard)
        operation: Callable[[], None] = self._random.choice(operations)
        chance = self._random.random()
        if chance < 0.0005:
            operation = self._reset
        elif chance < 0.03:
            operation = self._store
        elif chance < 0.05:
            operation = self._show
        if self._kills and self._dice.random() < 0.002:
            self._kill_soon()
        operation()

    def _note(self, name: str, *facts: object) -> None:
        self.done[name] += 1
        self.last.append(" ".join(map(str, (name, *facts))))

    def _range(self) -> tuple[int, int]:
        """Return where some bytes begin, and how many they are."""
        start = self._random.randrange(DISKSIZE)
        length = self._random.choice((1, 100, PAGE_SIZE, 3 * PAGE_SIZE, 1 << 17))
        return start, min(length, DISKSIZE - start)

    def _write(self) -> None:
        index = self._random.randrange(NR_PAGES)
        count = min(self._random.choice((1, 1, 1, 2, 8, 32)), NR_PAGES - index)
        kind = self._random.choice(KINDS)
        number = self._random.randrange(64)
        self._note("write", index, count, kind, number)
        data = b"".join(make_page(kind, number + each) for each in range(count))
        self._put(index * PAGE_SIZE, data)

    def _write_bytes(self) -> None:
        start, length = self._range()
        self._note("write_bytes", start, length)
        self._put(start, self._random.randbytes(1) * length)

    def _put(self, start: int, data: bytes) -> None:
        written = os.pwrite(self._fd, data, start)
        assert written == len(data), written
        self._pages[start : start + len(data)] = data

    def _read(self) -> None:
        start, length = self._range()
        self._note("read", start, length)
        self._compare(start, length)

    def _compare(self, start: int, length: int) -> None:
        data = os.pread(self._fd, length, start)
        expected = self._pages[start : start + length]
        if data != expected:
            pairs = zip(data, expected, strict=False)
            at = next((at for at, (a, b) in enumerate(pairs) if a != b), len(data))
            raise AssertionError(f"byte {start + at} is wrong, of {len(data)} read")

    def _discard(self) -> None:
        start, length = self._range()
        mode = self._random.choice((DISCARD, ZERO_RANGE | KEEP_SIZE))
        self._note("discard", start, length, mode)
        fallocate(self._fd, mode, start, length)
        self._pages[start : start + length] = bytes(length)

    def _store(self) -> None:
        name = self._random.choice(list(STORES))
        text = self._random.choice(STORES[name])
        self._note("store", name, text)
        try:
            self._mount.store(name, text)
        except OSError as error:
            if error.errno not in REFUSALS:
                raise

    def _show(self) -> None:
        name = self._random.choice(SHOWN)
        self._note("show", name)
        assert self._mount.show(name).split(), name

    def _reset(self) -> None:
        self._note("reset")
        self._wait_for_killer()  # a store may be done twice, and that is seen here
        self._end()
        self._begin()

    def _begin(self) -> None:
        """Begin a life of the device."""
        primary = self._random.choice(("lz4", "zstd", "lz4hc", "deflate"))
        self._mount.store("comp_algorithm", primary)
        self._mount.store("recomp_algorithm", "algo=zstd priority=1")
        self._mount.store("backing_dev", str(self._spill))
        self._mount.store("disksize", str(DISKSIZE))
        self._pages[:] = bytes(DISKSIZE)
        self._fd = os.open(self._mount.swapfile, os.O_RDWR)

    def _check_all(self) -> None:
        for start in range(0, DISKSIZE, 1 << 17):
            self._compare(start, 1 << 17)

    def _end(self) -> None:
        """Compare all pages, give them up, and end the life of the device."""
        self._check_all()
        fallocate(self._fd, DISCARD, 0, DISKSIZE)
        stat = self._mount.mm_stat()
        assert (stat.orig_data_size, stat.compr_data_size, stat.same_pages) == (0, 0, 0)
        assert stat.mem_used_total == 0, stat
        nr_used, _, nr_written = map(int, self._mount.show("bd_stat").split())
        assert nr_used == 0
        self.nr_spilled += nr_written
        os.close(self._fd)
        self._mount.store("reset", "1")

    def _kill_soon(self) -> None:
        """Kill the worker, within the next operations."""
        self._wait_for_killer()
        self.done["kill"] += 1
        self._worker = self._mount.pid
        self._killer = threading.Timer(self._dice.random() / 100, self._kill)
        self._killer.start()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._worker, signal.SIGKILL)

    def _wait_for_killer(self) -> None:
        if self._killer:
            self._killer.join()
            self._killer = None


def fuzz(
    place: Path, seed: int, seconds: float, most: int = sys.maxsize, *, kills: bool
) -> Fuzz:
    """Fuzz a new mount below *place*, and return what was done."""
    announced = [DEATHS] if kills else []
    spill = place / "spill"
    with spill.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, DISKSIZE // 2)
    with mounted(place / "mnt", place / "log", (), announced) as mount:
        run = Fuzz(mount, spill, seed, kills=kills)
        try:
            run.run(seconds, most)
        except BaseException as error:
            error.add_note(f"seed {seed}, after {run.done.total()} operations")
            error.add_note("the last: " + "; ".join(run.last))
            raise
    return run


def main() -> None:
    """Fuzz as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--operations", type=int, default=sys.maxsize)
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().getrandbits(32)
    )
    parser.add_argument("--no-kills", action="store_true")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)  # noqa: T201  # it is a command, too
    with tempfile.TemporaryDirectory(prefix="zramfs-fuzz-") as place:
        run = fuzz(
            Path(place),
            args.seed,
            args.seconds,
            args.operations,
            kills=not args.no_kills,
        )
    facts = f"{dict(run.done)}, {run.nr_spilled} pages written back"
    print(f"{run.done.total()} operations: {facts}")  # noqa: T201


if __name__ == "__main__":
    main()
