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
