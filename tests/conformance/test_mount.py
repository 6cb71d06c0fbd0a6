"""The transcripts, run against a mount: by every data path, all on one mount each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.differences import TRANSCRIPTS, check, listed, name_of
from tests.conformance.files import Files
from tests.integration.mounts import DATA_PATHS, Mount, mounted

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
]

# The transcript about blocks that cannot be read.
SPOILED = r"ERROR: page [45] in block [23] of .*backing0"


@pytest.fixture(scope="module", params=DATA_PATHS)
def data_path_name(request: pytest.FixtureRequest) -> str:
    """Each data path, for all transcripts."""
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture(scope="module")
def mount(
    data_path_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mount]:
    """A mount without a disksize; mounting takes as long as all the transcripts."""
    place = tmp_path_factory.mktemp("conformance")
    options = DATA_PATHS[data_path_name]
    with mounted(place / "mnt", place / "log", options, [SPOILED]) as mount:
        yield mount


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=name_of)
def test_a_mount_answers_as_the_transcript_says(
    mount: Mount, data_path_name: str, path: Path, tmp_path: Path
) -> None:
    row = listed({"mount", data_path_name}, name_of(path))
    mount.store("reset", "1")
    block_state = mount.attribute("zramfs/block_state")

    check(path, Files(mount.path, mount.swapfile, block_state, tmp_path), row)
