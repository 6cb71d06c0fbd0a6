"""The transcripts, run against the kernel's own zram: they are about it, after all."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.differences import TRANSCRIPTS, check, listed, name_of
from tests.conformance.files import Files
from tests.integration.kernel_zram import KernelZram, hot_added

pytestmark = [
    pytest.mark.mount,  # of no filesystem, but as little to be had everywhere
    pytest.mark.requires("kernel-zram"),
]


@pytest.fixture
def zram() -> Iterator[KernelZram]:
    """A device of the kernel's, as new."""
    with hot_added() as zram:
        yield zram


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=name_of)
def test_the_kernel_answers_as_the_transcript_says(
    zram: KernelZram, path: Path
) -> None:
    algorithms = re.findall(r"[\w-]+", (zram.attributes / "comp_algorithm").read_text())
    candidates = [*zram.attributes.iterdir(), zram.block_state]
    files = [file.name for file in candidates if file.exists()]
    row = listed({"kernel"}, name_of(path), [*algorithms, *files])
    target = Files(zram.attributes, zram.device, zram.block_state, os.O_DIRECT)

    check(path, target, row)
