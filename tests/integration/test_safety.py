"""What keeps a swap on it from hanging: granted and refused, on the real mount."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.checklogs import refusals
from tests.integration import teardown
from tests.integration.commands import ZRAMFS, attempt, the_sentence, zramfs
from tests.integration.mounts import MountFactory
from tests.integration.swapping import swapped_on, turn

pytestmark = [pytest.mark.mount, pytest.mark.requires("root", "fuse")]

SWAPS: Final = pytest.mark.requires("loop", "mkswap", "swapon", "setpriv", "prlimit")

UNLOCKED: Final = ("setpriv", "--bounding-set=-ipc_lock", "prlimit", "--memlock=0:0")
"""Runs a command that may not lock its memory."""

IO_FLUSHER: Final = 0x00180000
"""PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE (linux/sched.h)."""


def _rows(text: str) -> dict[str, str]:
    return {
        name: rest
        for name, _, rest in (row.partition(": ") for row in text.splitlines())
    }


def _thread_flags(pid: int) -> list[int]:
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return [int(re.split(r"\) ", stat)[-1].split()[6]) for stat in stats]


def test_a_worker_says_what_the_kernel_shows(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount:
        rows = _rows(mount.show("zramfs/swap_safety"))
        status = Path(f"/proc/{mount.pid}/status").read_text()
        flags = _thread_flags(mount.pid)
        score = Path(f"/proc/{mount.pid}/oom_score_adj").read_text()

    locked = re.search(r"VmLck:\s*([1-9]\d*) kB", status)
    assert rows["mlockall"].startswith("ok") == bool(locked)
    assert rows["PR_SET_IO_FLUSHER"].startswith("ok") == all(
        each & IO_FLUSHER == IO_FLUSHER for each in flags
    )
    assert rows["oom_score_adj"].startswith("ok") == (score == "-1000\n")
    assert rows["major faults"].startswith(("ok", "refused"))


def test_doctor_reads_it(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount:
        shown = _rows(mount.show("zramfs/swap_safety"))
        done = attempt(*ZRAMFS, "doctor", "--json", mount.path)

    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["supervisor"]["ok"] == rows["mlockall"]["ok"]
    missing = [row for row in rows.values() if row["essential"] and not row["ok"]]
    assert rows.keys() == shown.keys() | {"own storage", "supervisor"}
    assert done.returncode == (1 if missing else 0)


@SWAPS
def test_a_machine_that_can_swap_lacks_nothing_essential() -> None:
    done = attempt(*ZRAMFS, "doctor")

    assert "essential" not in done.stdout
    assert done.returncode == 0


@SWAPS
def test_doctor_says_when_memory_cannot_be_locked() -> None:
    done = attempt(*UNLOCKED, *ZRAMFS, "doctor")

    assert done.returncode == 1
    assert "locking memory: refused, essential (no more than 0B)" in done.stdout


@pytest.fixture
def mountpoint(place: Path) -> Iterator[Path]:
    """A directory to swap on; nobody else on this machine does meanwhile."""
    path = place / "mnt"
    path.mkdir()
    with turn():
        yield path
        assert teardown.leftovers(place) == []


@SWAPS
def test_swapon_refuses_a_worker_that_is_not_locked(mountpoint: Path) -> None:
    done = attempt(
        *UNLOCKED, *ZRAMFS, "swapon", mountpoint, "--disksize", "64M",
        "--log-file", mountpoint.with_name("log"),
    )  # fmt: skip

    sentence = the_sentence(done, 1)
    assert sentence.startswith("zramfs: not swapped on: mlockall is refused (")
    assert sentence.endswith("or insist with --force")


@SWAPS
def test_swapon_by_force_says_what_is_missing(mountpoint: Path) -> None:
    done = attempt(
        *UNLOCKED, *ZRAMFS, "swapon", mountpoint, "--disksize", "64M", "--force"
    )
    swapped = [loop in teardown.swaps() for loop in teardown.loops_below(mountpoint)]
    doctor = attempt(*ZRAMFS, "doctor", mountpoint)
    zramfs("swapoff", mountpoint)

    assert (done.returncode, swapped) == (0, [True])
    assert doctor.returncode == 1
    assert "mlockall: refused, essential (" in doctor.stdout


@SWAPS
def test_doctor_looks_at_the_loop_device(
    place: Path, data_path: tuple[str, ...], announced: list[str]
) -> None:
    announced += refusals()
    with swapped_on(place, "64M", data_path, announced) as swap:
        rows = _rows(zramfs("doctor", swap.mount.path))
        zramfs("swapoff", swap.mount.path)

    name = swap.device.name
    assert rows[f"{name} direct I/O"] == "ok"
    assert rows[f"{name} sectors"] == "ok (4096 bytes)"
    assert rows["swap priority"].startswith("ok (")


def test_metrics_are_read_whole(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount:
        text = mount.attribute("zramfs/metrics").read_text()

    assert "\nzramfs_orig_data_size 0\n" in text
    assert text.endswith('zramfs_safety{measure="mount namespace"} 1\n')
