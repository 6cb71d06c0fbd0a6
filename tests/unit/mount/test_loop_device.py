"""zramfs.mount.loop_device: what the kernel is asked; integration tests ask it."""

import errno
import fcntl
import gc
import os
import struct
from pathlib import Path

import pytest

from zramfs.errors import MountRefused
from zramfs.mount import loop_device
from zramfs.mount.loop_device import IOCTL_ONLY, attach, claim, follow

GET_FREE, CONFIGURE, GET_STATUS64, SET_CAPACITY = 0x4C82, 0x4C0A, 0x4C05, 0x4C07
BLKFLSBUF = 0x1261


class Kernel:
    """Loop devices that are plain files, with an ioctl(2) that notes what it is asked.

    It keeps the last loop device free that is offered: of the others another has taken
    hold by the time that they are configured.
    """

    def __init__(self, directory: Path, nr_free: int) -> None:
        self.directory = directory
        self.nr_free = nr_free
        self.offered = 0
        self.asked: list[tuple[str, int]] = []
        self.config = b""
        self.fails: dict[int, int] = {}
        for number in range(1, nr_free + 1):
            (directory / f"loop{number}").touch()

    def ioctl(self, fd: int, request: int, argument: bytes = b"") -> int:
        name = Path(f"/proc/self/fd/{fd}").readlink().name
        self.asked.append((name, request))
        if request in self.fails:
            raise OSError(self.fails[request], "as told")
        if request == GET_FREE:
            self.offered = min(self.offered + 1, self.nr_free)
            return self.offered
        if request == CONFIGURE:
            self.config = argument
            if name != f"loop{self.nr_free}":
                raise OSError(errno.EBUSY, "taken")
        return 0


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel(tmp_path, 3)
    (tmp_path / "loop-control").touch()
    (tmp_path / "swapfile").touch()
    monkeypatch.setattr(loop_device, "CONTROL", tmp_path / "loop-control")
    monkeypatch.setattr(loop_device, "LOOP", f"{tmp_path}/loop")
    monkeypatch.setattr(fcntl, "ioctl", kernel.ioctl)
    return kernel


def nr_open() -> int:
    gc.collect()  # what other tests have left, before it goes by itself
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_free_one_is_attached(kernel: Kernel) -> None:
    before = nr_open()

    loop, fd = attach(kernel.directory / "swapfile")

    assert loop == kernel.directory / "loop3"
    assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == IOCTL_ONLY
    assert not os.get_inheritable(fd)
    os.close(fd)
    assert nr_open() == before


def test_it_has_pages_direct_io_and_an_end(kernel: Kernel) -> None:
    _, fd = attach(kernel.directory / "swapfile")
    os.close(fd)

    _, block_size = struct.unpack_from("=2I", kernel.config)
    offset, sizelimit = struct.unpack_from("=2Q", kernel.config, 8 + 24)
    (flags,) = struct.unpack_from("=I", kernel.config, 8 + 52)
    assert len(kernel.config) == 304
    assert (block_size, offset, sizelimit) == (4096, 0, 0)
    assert flags == 4 | 16  # autoclear, direct I/O
    assert os.fsencode(kernel.directory)[:40] in kernel.config


def test_it_is_refused_when_none_stays_free(kernel: Kernel) -> None:
    kernel.fails[CONFIGURE] = errno.EBUSY
    before = nr_open()

    with pytest.raises(MountRefused, match="no loop device stays free"):
        attach(kernel.directory / "swapfile")

    assert nr_open() == before


def test_another_failure_is_passed_on(kernel: Kernel) -> None:
    kernel.fails[CONFIGURE] = errno.EINVAL
    before = nr_open()

    with pytest.raises(OSError, match="as told"):
        attach(kernel.directory / "swapfile")

    assert nr_open() == before


def test_following_asks_for_the_size_first(kernel: Kernel) -> None:
    follow(kernel.directory / "loop1")

    assert kernel.asked == [("loop1", GET_STATUS64), ("loop1", SET_CAPACITY)]


def test_a_claim_leaves_nothing_cached(kernel: Kernel) -> None:
    fd = claim(kernel.directory / "loop1")

    assert kernel.asked == [("loop1", BLKFLSBUF)]
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_a_claim_that_fails_is_none(kernel: Kernel) -> None:
    kernel.fails[BLKFLSBUF] = errno.EIO
    before = nr_open()

    with pytest.raises(OSError, match="as told"):
        claim(kernel.directory / "loop1")

    assert nr_open() == before
