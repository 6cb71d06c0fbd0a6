"""The transcripts, run against the kernel's own zram: they are about it, after all."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.differences import TRANSCRIPTS, check, listed, name_of
from tests.conformance.files import Files
from tests.integration.kernel_zram import KernelZram, hot_added
from zramfs.core.attributes import ATTRIBUTES
from zramfs.core.block_layer import DIRECTORIES, block_layer_files

pytestmark = [
    pytest.mark.mount,  # of no filesystem, but as little to be had everywhere
    pytest.mark.requires("kernel-zram"),
]


# Power management, tracing, and links to what a mount is no part of.
NOT_OURS = {"power", "trace", "bdi", "subsystem"}


@pytest.fixture
def zram() -> Iterator[KernelZram]:
    """A device of the kernel's, as new."""
    with hot_added() as zram:
        yield zram


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=name_of)
def test_the_kernel_answers_as_the_transcript_says(
    zram: KernelZram, path: Path, tmp_path: Path
) -> None:
    algorithms = re.findall(r"[\w-]+", (zram.attributes / "comp_algorithm").read_text())
    candidates = [*zram.attributes.iterdir(), zram.block_state]
    files = [file.name for file in candidates if file.exists()]
    row = listed({"kernel"}, name_of(path), [*algorithms, *files])
    target = Files(
        zram.attributes, zram.device, zram.block_state, tmp_path, os.O_DIRECT
    )

    check(path, target, row)


def test_the_files_of_a_mount_are_those_of_the_kernel(zram: KernelZram) -> None:
    rows = (*block_layer_files(lambda: None), *ATTRIBUTES.values())
    ours = {row.name: row.mode for row in rows}
    files = (path for path in zram.attributes.rglob("*") if not path.is_dir())
    theirs = {
        str(path.relative_to(zram.attributes)): stat.S_IMODE(path.stat().st_mode)
        for path in files
    }
    missing = {name for name in theirs if name not in ours}

    assert {name.partition("/")[0] for name in missing} <= NOT_OURS
    assert {name: ours[name] for name in theirs.keys() - missing} == {
        name: mode for name, mode in theirs.items() if name in ours
    }
    assert all((zram.attributes / name).is_dir() for name in DIRECTORIES)
