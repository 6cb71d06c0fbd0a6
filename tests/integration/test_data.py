"""Data goes in and comes out the same, by the tools that people use for that."""

from pathlib import Path
from typing import Final

import pytest

from tests.conftest import LoopFactory
from tests.integration import teardown
from tests.integration.commands import refused, run
from tests.integration.corpus import system_files
from tests.integration.mounts import MIB, MountFactory

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
    pytest.mark.timeout(120),
]

_FIO: Final = (
    "fio",
    "--name=verify",
    "--output-format=terse",
    "--verify=crc32c",
    "--verify_fatal=1",
    "--fallocate=none",
    "--allow_file_create=0",
    "--randseed=20220908",
    "--refill_buffers=1",
    "--buffer_compress_percentage=60",
    "--buffer_compress_chunk=4096",
)
"""Writes all, reads all back, and stops at the first block with a wrong checksum."""


def test_dd_reads_back_what_it_wrote(mounted: MountFactory, place: Path) -> None:
    data = place / "data"
    back = place / "back"
    data.write_bytes(system_files(32 * MIB))

    with mounted("--disksize", "64M") as mount:
        run("dd", f"if={data}", f"of={mount.swapfile}", "bs=1M", "conv=notrunc")
        run("dd", f"if={mount.swapfile}", f"of={back}", "bs=1M", "count=32")
        stored = mount.mm_stat().orig_data_size

    assert stored == 32 * MIB
    run("cmp", data, back)


@pytest.mark.requires("fio")
@pytest.mark.parametrize(
    "job",
    [
        pytest.param(
            ("--rw=randwrite", "--bs=4k", "--size=32M", "--direct=1"), id="pages"
        ),
        pytest.param(
            ("--rw=randwrite", "--bsrange=4k-1M", "--size=128M", "--direct=1"),
            id="mixed-sizes",
        ),
        pytest.param(
            ("--rw=randwrite", "--bsrange=512-64k", "--blockalign=512", "--size=64M"),
            id="sectors",
        ),
        pytest.param(
            ("--rw=randwrite", "--bsrange=512-64k", "--bs_unaligned=1", "--size=32M"),
            id="any-length",
        ),
        pytest.param(("--rw=write", "--bs=1M", "--size=128M"), id="sequential"),
        pytest.param(
            ("--rw=randrw", "--bsrange=4k-64k", "--size=64M", "--verify_backlog=64"),
            id="reads-between-writes",
        ),
    ],
)
def test_fio_verifies_the_swapfile(mounted: MountFactory, job: tuple[str, ...]) -> None:
    with mounted("--disksize", "128M") as mount:
        run(*_FIO, f"--filename={mount.swapfile}", "--ioengine=psync", *job)
        failed = mount.io_stat()

    assert failed == (0, 0, 0, 0)


@pytest.mark.requires("root", "loop", "fio")
@pytest.mark.parametrize("block_sizes", ["--bs=4k", "--bsrange=4k-256k"])
def test_fio_verifies_the_loop_device(
    mounted: MountFactory, loop: LoopFactory, block_sizes: str
) -> None:
    with mounted("--disksize", "64M") as mount:
        with loop(mount.swapfile) as device:
            run(
                *_FIO,
                f"--filename={device}",
                "--ioengine=libaio",
                "--direct=1",
                "--iodepth=16",
                "--rw=randwrite",
                "--size=64M",
                block_sizes,
            )
        failed = mount.io_stat()

    assert failed == (0, 0, 0, 0)


def _tree() -> Path:
    """Return a directory with many files, some tens of MiB."""
    candidates = (Path("/usr/share/perl"), Path("/usr/lib/python3.11"), Path("/etc"))
    return next(path for path in candidates if path.is_dir())


@pytest.mark.requires("root", "loop", "mkfs.ext4", "e2fsck")
def test_a_filesystem_keeps_a_tree(
    mounted: MountFactory, loop: LoopFactory, place: Path
) -> None:
    inner = place / "ext4"
    inner.mkdir()

    with mounted("--disksize", "256M") as mount, loop(mount.swapfile) as device:
        run("mkfs.ext4", "-q", device)
        run("mount", "-t", "ext4", device, inner)
        run("cp", "-a", _tree(), inner / "tree")
        run("umount", inner)
        run("e2fsck", "-fn", device)
        run("mount", "-t", "ext4", "-o", "ro", device, inner)
        run("diff", "--recursive", "--no-dereference", _tree(), inner / "tree")
        run("umount", inner)


@pytest.mark.requires("root", "loop")
def test_umount_refuses_while_a_loop_device_is_attached(
    mounted: MountFactory, loop: LoopFactory
) -> None:
    with mounted("--disksize", "64M") as mount:
        with loop(mount.swapfile) as device:
            sentence = refused("umount", mount.path)
            still = teardown.leftovers(mount.path)

        assert str(device) in sentence
        assert still[0] == f"mounted: {mount.path}"
        assert mount.show("initstate") == "1\n"
