"""A loop device is the block device: it follows disksize, and its openers count."""

import errno
import os
from pathlib import Path

import pytest

from tests.conftest import LoopFactory
from tests.integration.files import opened
from tests.integration.mounts import MIB, MountFactory, refuses
from zramfs.mount.loop_device import IOCTL_ONLY

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("root", "fuse", "loop"),
]


def capacity(loop: Path) -> int:
    return int(Path("/sys/block", loop.name, "size").read_text()) << 9


def test_it_has_the_capacity_of_the_disksize(
    mounted: MountFactory, loop: LoopFactory
) -> None:
    sizes = []
    with mounted("--disksize", "4M") as mount, loop(mount.swapfile) as device:
        sizes.append(capacity(device))
        mount.store("reset", "1")
        sizes.append(capacity(device))
        mount.store("disksize", "8M")
        sizes.append(capacity(device))

        assert mount.show("dev") == Path("/sys/block", device.name, "dev").read_text()

    assert sizes == [4 * MIB, 0, 8 * MIB]


@pytest.mark.every_path
def test_an_idle_one_keeps_no_reset_off(
    mounted: MountFactory, loop: LoopFactory
) -> None:
    with (
        mounted("--disksize", "4M") as mount,
        loop(mount.swapfile) as device,
        opened(device, IOCTL_ONLY),  # or the last to close it would empty its cache
    ):
        for _ in range(2):
            device.write_bytes(b"secret" * 1000)
            mount.store("reset", "1")
            assert mount.show("initstate") == "0\n"
            mount.store("disksize", "4M")
            assert device.read_bytes() == bytes(4 * MIB)


def test_one_that_is_open_keeps_a_reset_off(
    mounted: MountFactory, loop: LoopFactory
) -> None:
    with mounted("--disksize", "4M") as mount, loop(mount.swapfile) as device:
        device.write_bytes(b"data")
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDONLY | os.O_EXCL):
            with opened(device, flags), refuses(errno.EBUSY):
                mount.store("reset", "1")
        with opened(mount.swapfile, os.O_RDONLY), refuses(errno.EBUSY):
            mount.store("reset", "1")
        assert device.read_bytes()[:4] == b"data"
        assert capacity(device) == 4 * MIB

        mount.store("reset", "1")
