"""zramfs upgrade: other code takes over, or all stays as it is."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zramfs as package
from tests.crash.killing import RESTARTED, Killer, assert_derived, new_seed
from tests.crash.load import verifying
from tests.integration.commands import ROOT, attempt, refused, the_sentence, zramfs
from tests.integration.mounts import Mount, MountFactory
from zramfs.mount import upgrade

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse", "fio"),
    pytest.mark.timeout(90),
]


@pytest.fixture
def mount(mounted: MountFactory) -> Iterator[Mount]:
    with mounted("--disksize", "64M") as mount:
        yield mount


def test_no_request_fails_while_it_is_upgraded(
    mount: Mount, announced: list[str]
) -> None:
    program = upgrade.Program(executable=sys.executable, path=str(ROOT))
    supervisor, pids = mount.supervisor, {mount.pid}
    with verifying(mount):
        sentence = zramfs("upgrade", mount.path)
        said = f"process {mount.pid} now serves {mount.path}\n"
        # What the command does, without the time that a command takes to start.
        pids |= {mount.pid, *(upgrade.ask(supervisor, program) for _ in range(19))}
        last = mount.pid
    announced.append(RESTARTED)
    assert_derived(mount)

    assert sentence == said
    assert last in pids
    assert len(pids) == 21


@pytest.fixture
def copy(place: Path) -> Path:
    """A copy of the package, to be changed."""
    source = Path(package.__file__).parent
    target = place / "copy" / "zramfs"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def attempt_upgrade(mount: Mount, copy: Path) -> subprocess.CompletedProcess[str]:
    # -P: the package in the working directory comes first otherwise.
    command = (sys.executable, "-P", "-m", "zramfs", "upgrade", mount.path)
    return attempt(*command, extra={"PYTHONPATH": str(copy.parent)})


def refused_upgrade(mount: Mount, copy: Path) -> str:
    return the_sentence(attempt_upgrade(mount, copy), 1)


def test_the_new_code_goes_on_and_is_what_is_restarted(
    mount: Mount, copy: Path, announced: list[str]
) -> None:
    announced.append(RESTARTED)
    control = copy / "mount/control.py"
    text = control.read_text()
    control.write_text(text.replace('f"{os.getpid()}\\n"', 'f"0{os.getpid()}\\n"'))
    done = attempt_upgrade(mount, copy)
    upgraded = mount.show("zramfs/worker_pid")
    Killer(mount, new_seed()).kill()
    restarted = mount.show("zramfs/worker_pid")

    assert done.returncode == 0
    assert upgraded.startswith("0")
    assert restarted.startswith("0")
    assert restarted != upgraded


def test_code_that_is_broken_is_refused(
    mount: Mount, copy: Path, announced: list[str]
) -> None:
    announced.append("WARNING: no upgrade: ")
    (copy / "mount/bio.py").write_text('raise RuntimeError("broken")\n')
    before = mount.pid

    assert refused_upgrade(mount, copy) == (
        "zramfs: not upgraded: RuntimeError: broken"
    )
    assert mount.pid == before


def test_a_format_that_is_not_understood_is_refused(
    mount: Mount, copy: Path, announced: list[str]
) -> None:
    announced.append("WARNING: no upgrade: ")
    header = copy / "core/header.py"
    text = header.read_text()
    header.write_text(
        text.replace("FORMAT_VERSION: Final = ", "FORMAT_VERSION: Final = 9")
    )
    before = mount.pid

    assert "a program for format 9" in refused_upgrade(mount, copy)
    assert mount.pid == before


def test_a_mount_without_a_lane_is_not_upgraded(place: Path) -> None:
    (place / "mnt").mkdir()
    zramfs("mount", place / "mnt", "--disksize", "1M", "--data-path", "pyfuse3")
    sentence = refused("upgrade", place / "mnt")
    zramfs("umount", place / "mnt")

    assert "sends no request again" in sentence


def test_what_is_not_mounted_is_not_upgraded(place: Path) -> None:
    assert str(place) in refused("upgrade", place)
