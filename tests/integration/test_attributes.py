"""Control files have the habits of sysfs, through the kernel's FUSE."""

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.integration.mounts import Mount, MountFactory, refuses
from tests.pages import make_page
from zramfs.core.block_layer import DIRECTORIES, block_layer_files

pytestmark = [
    pytest.mark.mount,
    pytest.mark.requires("fuse"),
]

MODES = {
    "algorithm_params": 0o200,
    "backing_dev": 0o644,
    "bd_stat": 0o444,
    "comp_algorithm": 0o644,
    "compact": 0o200,
    "compressed_writeback": 0o644,
    "debug_stat": 0o444,
    "disksize": 0o644,
    "idle": 0o200,
    "initstate": 0o444,
    "io_stat": 0o444,
    "mem_limit": 0o200,
    "mem_used_max": 0o200,
    "mm_stat": 0o444,
    "recomp_algorithm": 0o644,
    "recompress": 0o200,
    "reset": 0o200,
    "writeback": 0o200,
    "writeback_batch_size": 0o644,
    "writeback_limit": 0o644,
    "writeback_limit_enable": 0o644,
    "zramfs/block_state": 0o400,
    "zramfs/metrics": 0o444,
    "zramfs/rw_page": 0o644,
    "zramfs/rw_page_stat": 0o444,
    "zramfs/spill_stat": 0o444,
    "zramfs/supervisor_pid": 0o444,
    "zramfs/swap_safety": 0o444,
    "zramfs/worker_pid": 0o444,
    **{row.name: row.mode for row in block_layer_files(lambda: None)},
}


def test_the_files_are_those_of_the_kernel_and_ours(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount:
        names = sorted(entry.name for entry in mount.path.iterdir())
        ours = [entry.name for entry in (mount.path / "zramfs").iterdir()]

    assert names == sorted(
        {name.split("/")[0] for name in MODES} | {"swapfile", *DIRECTORIES}
    )
    assert {f"zramfs/{name}" for name in ours} == {
        name for name in MODES if name.startswith("zramfs/")
    }


def test_a_control_file_looks_as_in_sysfs(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount:
        found = {name: mount.attribute(name).stat() for name in MODES}

    assert {name: stat.S_IMODE(info.st_mode) for name, info in found.items()} == MODES
    assert {info.st_size for info in found.values()} == {4096}
    assert {info.st_blocks for info in found.values()} == {0}
    assert {info.st_uid for info in found.values()} == {os.getuid()}


@pytest.mark.requires("root")
@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("mm_stat", os.O_WRONLY),
        ("mm_stat", os.O_RDWR),
        ("reset", os.O_RDONLY),
        ("reset", os.O_RDWR),
        ("zramfs/worker_pid", os.O_WRONLY),
    ],
)
def test_the_wrong_direction_is_refused_to_root(
    mounted: MountFactory, name: str, flags: int
) -> None:
    with mounted("--disksize", "64M") as mount, refuses(errno.EACCES):
        os.open(mount.attribute(name), flags)


def test_no_file_can_be_created(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount, refuses(errno.EACCES):
        os.open(mount.attribute("unknown"), os.O_WRONLY | os.O_CREAT, 0o644)


def test_an_unknown_file_is_not_there(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount, refuses(errno.ENOENT):
        os.open(mount.attribute("unknown"), os.O_WRONLY)


@pytest.mark.parametrize("name", ["mm_stat", "swapfile"])
def test_no_file_can_be_removed(mounted: MountFactory, name: str) -> None:
    with mounted("--disksize", "64M") as mount, refuses(errno.EPERM):
        mount.attribute(name).unlink()


@pytest.mark.parametrize("flag", [os.O_TRUNC, os.O_APPEND, os.O_CREAT])
def test_open_flags_change_nothing(mounted: MountFactory, flag: int) -> None:
    with mounted("--disksize", "64M") as mount:
        fd = os.open(mount.attribute("mem_limit"), os.O_WRONLY | flag)
        written = os.write(fd, b"8M")
        os.close(fd)
        limit = mount.mm_stat().mem_limit

    assert (written, limit) == (2, 8 << 20)


def test_truncating_changes_nothing(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount:
        os.truncate(mount.attribute("disksize"), 0)
        shown = mount.show("disksize")
        size = mount.attribute("disksize").stat().st_size

    assert (shown, size) == ("67108864\n", 4096)


def _written(mount: Mount, text: bytes, offset: int | None = None) -> tuple[int, int]:
    """Write *text* to mem_limit; return what write(2) returned and what it did."""
    fd = os.open(mount.attribute("mem_limit"), os.O_WRONLY)
    try:
        count = os.write(fd, text) if offset is None else os.pwrite(fd, text, offset)
    finally:
        os.close(fd)
    return count, mount.mm_stat().mem_limit


@pytest.mark.parametrize(
    ("text", "offset", "count", "limit"),
    [
        pytest.param(b"8M", None, 2, 8 << 20, id="plain"),
        pytest.param(b"8M\n", None, 3, 8 << 20, id="newline"),
        pytest.param(b"8M", 7, 2, 8 << 20, id="offset"),
        pytest.param(b"8M", 5000, 2, 8 << 20, id="offset-beyond-the-size"),
        pytest.param(b"", None, 0, 4 << 20, id="nothing"),
        pytest.param(b"4096\0junk", None, 9, 4096, id="nul"),
        pytest.param(b"8M" + b" " * 4094, None, 4096, 8 << 20, id="whole"),
        pytest.param(b"8M" + b" " * 4095, None, 4096, 8 << 20, id="too-long"),
        pytest.param(b"8M" + b" " * 99999, None, 4096, 8 << 20, id="much-too-long"),
    ],
)
def test_a_write_is_one_store(
    mounted: MountFactory, text: bytes, offset: int | None, count: int, limit: int
) -> None:
    with mounted("--disksize", "64M", "--mem-limit", "4M") as mount:
        written = _written(mount, text, offset)

    assert written == (count, limit)


def test_a_refused_store_changes_nothing(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M", "--mem-limit", "4M") as mount:
        with refuses(errno.EINVAL):
            mount.store("mem_limit", "much")
        with refuses(errno.EBUSY):
            mount.store("disksize", "128M")
        limit = mount.mm_stat().mem_limit
        shown = mount.show("disksize")

    assert (limit, shown) == (4 << 20, "67108864\n")


def test_a_text_is_made_once_for_each_open_file(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount:
        fd = os.open(mount.attribute("mm_stat"), os.O_RDONLY)
        first = os.read(fd, 4096)
        at_end = os.read(fd, 4096)
        mount.store("mem_limit", "8M")
        tail = os.pread(fd, 4096, 5)
        beyond = os.pread(fd, 4096, 1000)
        again = os.pread(fd, 4096, 0)
        os.close(fd)

    assert len(first) == 81
    assert (at_end, tail, beyond) == (b"", first[5:], b"")
    assert again == first.replace(b"       0", b" 8388608", 4).replace(
        b" 8388608", b"       0", 3
    )


def test_a_text_can_be_read_in_pieces(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount:
        fd = os.open(mount.attribute("comp_algorithm"), os.O_RDONLY)
        pieces = [os.read(fd, 5) for _ in range(6)]
        os.close(fd)

    assert b"".join(pieces) == b"[lz4] lz4hc zstd deflate \n"


def test_seeking_to_the_start_makes_the_text_anew(mounted: MountFactory) -> None:
    with mounted("--disksize", "64M") as mount:
        fd = os.open(mount.attribute("disksize"), os.O_RDONLY)
        before = os.read(fd, 4096)
        mount.store("reset", "1")
        os.lseek(fd, 0, os.SEEK_SET)
        after = os.read(fd, 4096)
        os.close(fd)

    assert (before, after) == (b"67108864\n", b"0\n")


@pytest.mark.parametrize("name", ["mm_stat", "swapfile"])
def test_modes_cannot_be_changed(mounted: MountFactory, name: str) -> None:
    with mounted("--disksize", "64M") as mount, refuses(errno.EPERM):
        mount.attribute(name).chmod(0o666)


def test_a_dictionary_is_found_from_the_writers_directory(
    mounted: MountFactory, tmp_path: Path
) -> None:
    (tmp_path / "words").write_bytes(make_page("text"))
    with mounted() as mount:
        command = 'printf "dict=words" >"$1"'
        subprocess.run(
            ["/bin/sh", "-c", command, "sh", mount.attribute("algorithm_params")],
            cwd=tmp_path,
            check=True,
            timeout=10,
        )
        mount.store("disksize", "64M")
        with mount.swapfile.open("r+b", buffering=0) as swapfile:
            swapfile.write(make_page("text"))
        stored = mount.mm_stat().compr_data_size

    assert stored < 62  # what the page takes without it


def test_a_dictionary_may_be_a_file_of_the_mount_itself(mounted: MountFactory) -> None:
    with mounted() as mount:
        stored = mount.store("algorithm_params", f"dict={mount.attribute('mm_stat')}")
        shown = mount.show("initstate")

    assert (stored > 0, shown) == (True, "0\n")
