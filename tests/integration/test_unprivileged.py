"""Without root, through fusermount3.

As uid 65534, in a mount namespace of its own where the repository, the interpreter's
environment and a /dev/fuse are such that anyone may use them.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.integration import teardown
from tests.integration.commands import ROOT, attempt
from tests.integration.mounts import LANE_PATHS

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("root", "fuse", "fusermount3", "setpriv", "unshare"),
    pytest.mark.requires("public-python"),
    pytest.mark.timeout(60),
]

NOBODY: Final = 65534

_AS_NOBODY: Final = """
set -e
public=$1 repository=$2 environment=$3
mkdir "$public/bin" "$public/repository" "$public/environment"
mount -t tmpfs none "$public/bin"
mknod -m 666 "$public/bin/fuse" c 10 229
mount --bind "$public/bin/fuse" /dev/fuse
mount --bind "$repository" "$public/repository"
mount --bind "$environment" "$public/environment"
exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "$4" sh "$public" "$5"
"""

_SESSION: Final = """
set -ex
mnt=$1/mnt
zramfs() {
    PYTHONPATH=$public/repository "$public/environment/bin/python" -m zramfs "$@"
}
public=$1 options=$2
zramfs mount "$mnt" --disksize 64M $options
stat --format %u:%a "$mnt/swapfile"
seq 100000 >"$public/data"
dd if="$public/data" of="$mnt/swapfile" bs=64k conv=notrunc status=none
head -c "$(stat --format %s "$public/data")" "$mnt/swapfile" | cmp - "$public/data"
cat "$mnt/initstate"
echo 32M >"$mnt/mem_limit"
zramfs status --json "$mnt" | grep mem_limit
zramfs umount "$mnt"
! grep -F "$mnt" /proc/self/mountinfo
"""

_LANE: Final = """
set -e
mnt=$1/mnt
zramfs() {
    PYTHONPATH=$public/repository "$public/environment/bin/python" -m zramfs "$@"
}
public=$1 options=$2
zramfs mount "$mnt" --disksize 1M $options
dd if=/dev/urandom of="$mnt/swapfile" bs=64k count=16 conv=notrunc status=none
dd if="$mnt/swapfile" of=/dev/null bs=64k status=none
fallocate --punch-hole --offset 0 --length 512K "$mnt/swapfile" || echo refused
cat "$mnt/zramfs/rw_page" "$mnt/io_stat" "$mnt/zramfs/rw_page_stat"
zramfs umount "$mnt"
"""

_REFUSED: Final = """
public=$1
PYTHONPATH=$public/repository "$public/environment/bin/python" \\
    -m zramfs swapon "$public/mnt" --disksize 64M
"""


@pytest.fixture
def public(place: Path) -> Iterator[Path]:
    """A directory of nobody's that anyone can reach: pytest's own are private."""
    path = Path(tempfile.mkdtemp(prefix="zramfs-test-"))
    try:
        (path / "mnt").mkdir()
        os.chown(path / "mnt", NOBODY, NOBODY)
        os.chown(path, NOBODY, NOBODY)
        yield path
    finally:
        # Mounts went with their namespace, when its last process ended.
        teardown.take_down(place)
        shutil.rmtree(path)


def _as_nobody(public: Path, script: str, *options: str) -> tuple[int, str, str]:
    done = attempt(
        *("unshare", "--mount", "--propagation=private", "sh", "-c", _AS_NOBODY, "sh"),
        *(public, ROOT, sys.prefix, script, " ".join(options)),
    )
    return done.returncode, done.stdout, done.stderr


def test_anyone_can_mount_write_read_and_unmount(
    public: Path, place: Path, data_path: tuple[str, ...]
) -> None:
    status, output, errors = _as_nobody(public, _SESSION, *data_path)

    assert status == 0, errors
    assert output.splitlines() == [
        "65534:600",
        "1",
        '    "mem_limit": 33554432,',
    ]
    assert teardown.leftovers(place) == []


def test_swapon_needs_root(public: Path, place: Path) -> None:
    status, _, errors = _as_nobody(public, _REFUSED)

    assert (status, errors) == (1, "zramfs: swapon needs root\n")
    assert teardown.leftovers(place) == []


def _counted(output: str) -> dict[str, int]:
    """Return what rw_page_stat, all lines of two words, says that is not 0."""
    lines = map(str.split, output.splitlines())
    rows = [line for line in lines if len(line) == 2]
    return {name: int(value) for name, value in rows if value != "0"}


@pytest.mark.requires("fallocate")
@pytest.mark.paths(*LANE_PATHS)
def test_anyone_has_the_lane(
    public: Path, place: Path, data_path: tuple[str, ...]
) -> None:
    status, output, errors = _as_nobody(public, _LANE, *data_path)

    mode = data_path[-1] if data_path else "always"
    path = "bio" if mode == "off" else "lane"
    modes, io_stat, *_ = output.splitlines()
    counted = _counted(output)
    assert (status, errors) == (0, "")
    assert f"[{mode}]" in modes.split()
    assert io_stat.split() == ["0", "0", "0", "128"]
    assert counted[f"{path}_reads"] >= 16
    assert counted[f"{path}_writes"] >= 16
    assert counted["discards"] == 1
    assert teardown.leftovers(place) == []


@pytest.mark.requires("fallocate")
@pytest.mark.paths("pyfuse3")
def test_anyone_can_do_without_the_lane(
    public: Path, place: Path, data_path: tuple[str, ...]
) -> None:
    status, output, errors = _as_nobody(public, _LANE, *data_path)

    assert (status, output.splitlines()[:2]) == (0, ["refused", "always no_wb [off]"])
    assert "fallocate failed: keep size mode is unsupported" in errors
    assert _counted(output).keys() == {"bio_reads", "bio_writes"}
    assert teardown.leftovers(place) == []
