"""Writing back on a real mount: to a file, a loop device, and files that go wrong."""

import errno
import json
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.integration import teardown
from tests.integration.commands import refused, run, zramfs
from tests.integration.corpus import noise, system_files
from tests.integration.files import aligned, opened
from tests.integration.mounts import MIB, PAGE_SIZE, Mount, MountFactory
from tests.integration.spills import (
    bd_stat,
    held_file,
    read,
    with_file,
    write_back_all,
)
from tests.integration.swapping import Hog, swapped_on

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
    pytest.mark.paths("always"),
    pytest.mark.timeout(60),
]

NR_PAGES: Final = 512

_HOG: Final = Hog(length=160 * MIB, limit=48 * MIB, touch_s=1)


@pytest.fixture
def spill(place: Path) -> Path:
    return place / "spill"


@pytest.fixture
def pages() -> bytes:
    return system_files(MIB) + noise(MIB)


def spilled(mount: Mount, pages: bytes) -> None:
    """Store *pages*, and write back all that have memory."""
    with opened(mount.swapfile, os.O_RDWR) as fd:
        assert os.pwrite(fd, aligned(pages), 0) == len(pages)
    write_back_all(mount)


@pytest.mark.parametrize(
    "options",
    [(), ("--encrypt", "chacha20poly1305"), ("--encrypt", "aes-gcm")],
    ids=["checksum", "chacha20poly1305", "aes-gcm"],
)
def test_pages_go_to_a_file_and_come_back(
    mounted: MountFactory, spill: Path, pages: bytes, options: tuple[str, ...]
) -> None:
    with mounted(*with_file(spill, *options)) as mount:
        spilled(mount, pages)
        count, _, writes = bd_stat(mount)
        found = read(mount, 0, NR_PAGES)
        on_disk = spill.read_bytes()
        status = json.loads(zramfs("status", "--json", mount.path))
        stat = mount.rw_page_stat()

        assert count == writes > NR_PAGES // 2
        assert found == pages
        # A page in which two requests meet is read twice.
        assert count <= bd_stat(mount)[1] <= count + 4
        assert bd_stat(mount)[0] == count
        assert (pages[-PAGE_SIZE:] in on_disk) is not bool(options)
        assert status[0]["bd_count"] == count
        assert status[0]["spill_encrypted"] == bool(options)
        assert mount.mm_stat().compr_data_size == 0
        assert stat["declined_spilled"] == stat["bio_reads"] > 0
    assert spill.stat().st_mode & 0o777 == 0o600


def test_a_file_of_another_mount_is_busy(
    mounted: MountFactory, spill: Path, place: Path
) -> None:
    (place / "other").mkdir()
    with mounted(*with_file(spill)) as mount:
        sentence = refused("mount", place / "other", *with_file(spill))
        mount.store("reset", "1")
        zramfs("mount", place / "other", *with_file(spill))
        zramfs("umount", place / "other")

    assert "another zramfs" in sentence


@pytest.mark.requires("root", "loop")
def test_a_block_device_is_taken_for_us_alone(
    mounted: MountFactory, place: Path, pages: bytes
) -> None:
    image = place / "image"
    image.write_bytes(b"what was there before" * 400000)
    loop = run("losetup", "--find", "--show", "--direct-io=on", image).strip()
    try:
        with mounted("--disksize", "16M", "--backing-dev", loop) as mount:
            spilled(mount, pages)
            assert read(mount, 0, NR_PAGES) == pages
            with pytest.raises(OSError, match="busy"):
                os.open(loop, os.O_RDWR | os.O_EXCL)
    finally:
        run("losetup", "--detach", loop)


def _damage(spill: Path, how: str) -> None:
    """Do to the file what disks and people do."""
    if how == "truncated":
        os.truncate(spill, 100 * PAGE_SIZE)
        return
    with spill.open("r+b") as file:
        if how == "replaced":
            file.write(os.urandom(150 * PAGE_SIZE))
        else:
            file.seek(7 * PAGE_SIZE + 100)
            byte = file.read(1)[0]
            file.seek(7 * PAGE_SIZE + 100)
            file.write(bytes([byte ^ 1]))


@dataclass(frozen=True, slots=True)
class Damage:
    """What is done to the file, how many pages that costs, and who counts them."""

    how: str
    least: int
    most: int
    counter: str


def readable(mount: Mount, index: int) -> bytes | None:
    """Return a page; None if that is an input/output error."""
    try:
        return read(mount, index)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None


@pytest.mark.parametrize(
    "damage",
    [
        Damage("flipped", 1, 1, "spill_corrupt_blocks"),
        Damage("truncated", NR_PAGES - 100, NR_PAGES - 100, "spill_short_reads"),
        Damage("replaced", 150, 150, "spill_corrupt_blocks"),
    ],
    ids=lambda damage: damage.how,
)
def test_what_the_disk_has_lost_is_an_error_and_never_wrong(
    mounted: MountFactory,
    spill: Path,
    pages: bytes,
    announced: list[str],
    damage: Damage,
) -> None:
    announced.append(r"ERROR: page \d+ in block \d+ of")
    with mounted(*with_file(spill)) as mount:
        spilled(mount, pages)
        _damage(spill, damage.how)
        found = [readable(mount, index) for index in range(NR_PAGES)]
        lost = [index for index, page in enumerate(found) if page is None]
        status = json.loads(zramfs("status", "--json", mount.path))
        # What was lost can be written again, and the mount goes on.
        with opened(mount.swapfile, os.O_RDWR) as fd:
            os.pwrite(fd, aligned(pages), 0)
        again = read(mount, 0, NR_PAGES)
        named = re.findall(r"page (\d+) in block \d+ of", mount.log.read_text())

        assert damage.least <= len(lost) <= damage.most
        assert all(
            page in (None, pages[index * PAGE_SIZE :][:PAGE_SIZE])
            for index, page in enumerate(found)
        )
        assert [*map(int, named)] == lost
        assert status[0][damage.counter] == len(lost)
        assert mount.io_stat().failed_reads == 0
        assert again == pages


def locked_bytes(pid: str) -> int:
    """Return how much of the memory of the device a process has locked in memory.

    What others have mapped, too, counts in part: it is shared between them.
    """
    smaps = Path(f"/proc/{pid.strip()}/smaps").read_text()
    areas = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.MULTILINE)
    ours = [area for area in areas if "memfd:zramfs" in area.partition("\n")[0]]
    return sum(
        int(kib) << 10 for kib in re.findall(r"Locked: +(\d+) kB", "".join(ours))
    )


@pytest.mark.requires("root")
def test_the_key_is_in_locked_memory_also_without_a_worker(
    mounted: MountFactory, spill: Path, pages: bytes
) -> None:
    """It is in the first page of the header, which the supervisor has mapped, too."""
    with mounted(*with_file(spill, "--encrypt", "aes-gcm")) as mount:
        spilled(mount, pages)

        assert locked_bytes(mount.show("zramfs/supervisor_pid")) > 0
        assert locked_bytes(mount.show("zramfs/worker_pid")) > 0


@pytest.mark.requires("root")
@pytest.mark.parametrize("mode", ["always", "off"])
def test_resident_pages_are_read_while_a_written_back_one_is_waited_for(
    mounted: MountFactory, place: Path, pages: bytes, mode: str
) -> None:
    found: list[bytes] = []
    with held_file(place) as (file, hold):
        options = ("--disksize", "16M", "--backing-dev", str(file), "--rw-page", mode)
        with mounted(*options) as mount:
            with opened(mount.swapfile, os.O_RDWR) as fd:
                os.pwrite(fd, aligned(pages), 0)
                mount.store("writeback", f"page_index={NR_PAGES - 1}")
                hold.touch()
                waiting = threading.Thread(
                    target=lambda: found.append(read(mount, NR_PAGES - 1))
                )
                waiting.start()
                assert teardown.wait_until(lambda: bd_stat(mount)[1] == 1)
                for number in range(1000):
                    index = number % (NR_PAGES - 1)
                    page = os.pread(fd, PAGE_SIZE, index * PAGE_SIZE)
                    assert page == pages[index * PAGE_SIZE :][:PAGE_SIZE]
                assert not found
                hold.unlink()
                waiting.join(10)
            stat = mount.rw_page_stat()

    assert found == [pages[-PAGE_SIZE:]]
    assert stat["lane_reads"] >= 1000 if mode == "always" else stat["bio_reads"] > 1000
    assert stat["bio_reads"] == 1 if mode == "always" else not stat["lane_reads"]


@pytest.mark.requires("root", "cgroup", "loop", "mkswap", "swapon")
def test_a_hog_finds_every_page_while_idle_ones_are_written_back(
    place: Path, spill: Path, announced: list[str]
) -> None:
    options = ("--backing-dev", str(spill), "--backing-size", "256M")
    ended = threading.Event()
    nr_written = [0]
    with swapped_on(place, "320M", options, announced) as swap:
        mount = swap.mount

        def keep_writing_back() -> None:
            while not ended.wait(0.5):
                mount.store("writeback", "idle")
                mount.store("idle", "all")
                nr_written[0] = bd_stat(mount)[2]

        thread = threading.Thread(target=keep_writing_back)
        thread.start()
        try:
            hog = _HOG.run(mount.mm_stat)
        finally:
            ended.set()
            thread.join(30)
        run("swapoff", swap.device)
        # Swapping off brings every page back, and what it leaves is discarded: all but
        # the first page, with the signature of the swap area.
        count, nr_read, _ = bd_stat(mount)
        failed = mount.io_stat()
        zramfs("swapoff", mount.path)

    assert hog.course["wrong"] == 0
    assert nr_written[0] > 1000
    assert nr_read > 1000
    assert count <= 1
    assert (failed.failed_reads, failed.failed_writes) == (0, 0)
