"""Mounted by mount(8), as for a line of fstab, and unmounted by umount(8)."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.integration import teardown
from tests.integration.commands import ROOT, attempt, run
from tests.integration.teardown import wait_until

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("root", "fuse", "mount", "umount"),
]

SBIN: Final = Path("/sbin")
"""The only place where mount(8) looks for its helpers."""

LOCAL_SBIN: Final = Path("/usr/local/sbin")
"""First on the PATH that mount(8) gives to its helpers."""

NAME: Final = f"zramfs-test-{os.getpid()}"

OPTIONS: Final = (
    "rw,noatime,nofail,x-systemd.automount,disksize=16M,comp-algorithm=zstd"
)

_SCRIPT: Final = """#!/bin/sh
PYTHONPATH={root} exec {python} -P -c 'import sys
from {module} import main
sys.exit(main())' "$@"
"""


@pytest.fixture
def mountpoint(place: Path) -> Path:
    path = place / "mnt"
    path.mkdir()
    return path


def _install(path: Path, module: str) -> None:
    path.write_text(_SCRIPT.format(root=ROOT, python=sys.executable, module=module))
    path.chmod(0o755)


@contextmanager
def _installed(path: Path, module: str) -> Iterator[None]:
    """Have *module* as a program of the system for a while."""
    if not os.access(path.parent, os.W_OK):
        pytest.skip(f"{path.parent} cannot be written to")
    try:
        _install(path, module)
        yield
    finally:
        path.unlink(missing_ok=True)


@pytest.fixture
def helper_type() -> Iterator[str]:
    """A filesystem type of our own, with its helper where mount(8) looks."""
    with _installed(SBIN / f"mount.{NAME}", "zramfs.cli.fstab"):
        yield NAME


@pytest.fixture
def fuse_type() -> Iterator[str]:
    """A type for mount.fuse(8), with a program where that looks."""
    with _installed(LOCAL_SBIN / NAME, "zramfs.cli.main"):
        yield f"fuse.{NAME}"


def _assert_mounted_and_unmount(mountpoint: Path) -> None:
    [mount] = teardown.mounts_below(mountpoint)
    disksize = (mountpoint / "disksize").read_text()
    algorithms = (mountpoint / "comp_algorithm").read_text()
    run("umount", mountpoint)

    assert mount.fs_type == "fuse.zramfs"
    assert disksize == f"{16 << 20}\n"
    assert "[zstd]" in algorithms
    assert wait_until(lambda: teardown.leftovers(mountpoint.parent) == [])


@pytest.mark.requires("mount.fuse")
def test_a_type_of_fuse_is_mounted(mountpoint: Path, fuse_type: str) -> None:
    run("mount", "-t", fuse_type, "-o", OPTIONS, "none", mountpoint)

    _assert_mounted_and_unmount(mountpoint)


def test_a_type_with_a_helper_is_mounted(mountpoint: Path, helper_type: str) -> None:
    run("mount", "-t", helper_type, "-o", OPTIONS, "none", mountpoint)

    _assert_mounted_and_unmount(mountpoint)


def test_a_line_of_fstab_is_mounted(
    mountpoint: Path, helper_type: str, place: Path
) -> None:
    fstab = place / "fstab"
    fstab.write_text(f"zramfs {mountpoint} {helper_type} {OPTIONS} 0 0\n")

    run("mount", "--fstab", fstab, mountpoint)

    _assert_mounted_and_unmount(mountpoint)


def test_a_refusal_is_the_status_of_mount(place: Path, helper_type: str) -> None:
    (place / "full").mkdir()
    (place / "full/file").touch()

    done = attempt("mount", "-t", helper_type, "none", place / "full")
    wrong = attempt("mount", "-t", helper_type, "-o", "disksize=x", "none", place)

    assert done.returncode == 32
    assert "is not empty" in done.stderr
    assert wrong.returncode == 1
    assert "bad disksize" in wrong.stderr
