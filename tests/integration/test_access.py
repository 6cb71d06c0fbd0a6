"""What others may do on a mount of root's, and what commands inherit of it."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.integration.commands import zramfs
from tests.integration.mounts import Mount, MountFactory

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("root", "fuse", "setpriv"),
]

_AS_NOBODY: Final = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=-all", "--bounding-set=-all", "sh", "-c"),
)

_TRY_ALL: Final = """
cd "$1"
find . -type f | sort | while read -r file; do
    (: <"$file") 2>/dev/null && echo "r $file"
    (: >>"$file") 2>/dev/null && echo "w $file"
done
(: >new) 2>/dev/null && echo made
rm -f swapfile 2>/dev/null && echo removed
truncate -s 0 swapfile 2>/dev/null && echo truncated
chmod 666 swapfile 2>/dev/null && echo changed
true
"""

SECRET: Final = {"./swapfile", "./zramfs/block_state"}


@pytest.fixture
def reachable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Directories of pytest's that others may pass through for a while."""
    base = tmp_path_factory.getbasetemp()
    paths = {path: path.stat().st_mode for path in (base.parent, base)}
    for path, mode in paths.items():
        path.chmod(mode | 0o011)
    yield
    for path, mode in paths.items():
        path.chmod(mode)


def _done_by_nobody(mount: Mount) -> set[tuple[str, str]]:
    # The directory of the test itself is private, too.
    mount.path.parent.chmod(0o711)
    done = subprocess.run(
        [*_AS_NOBODY, _TRY_ALL, "sh", mount.path],
        capture_output=True,
        check=True,
        text=True,
        timeout=20,
    )
    rows = (line.partition(" ") for line in done.stdout.splitlines())
    return {(what, name) for what, _, name in rows}


@pytest.mark.usefixtures("reachable")
def test_others_can_read_what_sysfs_shows_and_change_nothing(
    mounted: MountFactory,
) -> None:
    with mounted("--disksize", "1M") as mount:
        files = [path for path in mount.path.rglob("*") if path.is_file()]
        readable = {
            f"./{path.relative_to(mount.path)}"
            for path in files
            if path.stat().st_mode & 0o004
        }
        before = mount.show("disksize"), (mount.swapfile).stat().st_mode
        done = _done_by_nobody(mount)
        after = mount.show("disksize"), (mount.swapfile).stat().st_mode

    assert done == {("r", name) for name in readable}
    assert not SECRET & readable
    assert {"./mm_stat", "./zramfs/swap_safety"} <= readable
    assert before == after


def _open_files(pid: int) -> dict[str, int]:
    """Return what *pid* has open beyond its standard files, with the flags."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if int(entry.name) > 2:
            info = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text()
            rows = dict(row.split(":", 1) for row in info.splitlines())
            found[f"{entry.name} {entry.readlink()}"] = int(rows["flags"], 8)
    return found


def _backed(mount: Mount, place: Path) -> Path:
    """Write pages back to a file, and return it."""
    backing = place / "backing"
    backing.write_bytes(bytes(1 << 20))
    mount.store("backing_dev", str(backing))
    mount.store("disksize", "1M")
    mount.swapfile.write_bytes(os.urandom(1 << 20))
    mount.store("writeback", "huge")
    return backing


def test_whatever_the_daemon_has_open_is_closed_on_exec(
    mounted: MountFactory, place: Path
) -> None:
    with mounted() as mount:
        backing = _backed(mount, place)
        supervisor = int(mount.show("zramfs/supervisor_pid"))
        opened = [_open_files(pid) for pid in (mount.pid, supervisor)]

    for files in opened:
        assert any("/dev/fuse" in name for name in files)
        assert any("/memfd:zramfs" in name for name in files)
        assert any(str(backing) in name for name in files)
        assert [name for name, flags in files.items() if not flags & os.O_CLOEXEC] == []


@pytest.mark.requires("loop", "unshare")
def test_a_command_that_exec_runs_inherits_nothing_of_it(
    mounted: MountFactory, place: Path
) -> None:
    script = "for fd in /proc/$$/fd/*; do readlink $fd; done; true"
    with mounted() as mount:
        _backed(mount, place)
        seen = zramfs("exec", mount.path, "--", "sh", "-c", script)

    assert not re.search(r"/dev/fuse|memfd|backing|swapfile", seen), seen
