"""zramfs.mount.cgroups: the limits of a process, in both versions."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from zramfs.mount.cgroups import (
    MemoryGroup,
    leave_limits,
    memory_groups,
    tightest,
)

V1 = "9:name=systemd:/x\n4:cpu,memory:/a/b\n0::/\n"
V2 = "0::/a/b\n"

FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
ANY = {1: "9223372036854771712", 2: "max"}


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    path = tmp_path / "proc"
    path.mkdir()
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "cgroup"
    (path / "memory").mkdir(parents=True)
    return path


def make(path: Path, version: int, limit: str, used: int = 0, cache: int = 0) -> None:
    path.mkdir(parents=True, exist_ok=True)
    limit_file, used_file, key = FILES[version]
    (path / limit_file).write_text(f"{limit}\n")
    (path / used_file).write_text(f"{used}\n")
    (path / "memory.stat").write_text(f"cache 5\n{key} {cache}\n")


def test_the_groups_of_version_1_go_up_to_the_top(proc: Path, root: Path) -> None:
    (proc / "cgroup").write_text(V1)
    make(root / "memory/a/b", 1, "4096")

    assert memory_groups(proc, root) == [
        MemoryGroup(path=root / "memory" / name, version=1) for name in ("a/b", "a", "")
    ]


def test_the_groups_of_version_2_go_up_to_the_top(proc: Path, root: Path) -> None:
    (proc / "cgroup").write_text(V2)
    (root / "cgroup.controllers").write_text("memory\n")
    make(root / "a/b", 2, "4096")

    assert memory_groups(proc, root) == [
        MemoryGroup(path=root / name, version=2) for name in ("a/b", "a", "")
    ]


def test_a_name_from_outside_a_container_is_left_out(proc: Path, root: Path) -> None:
    (proc / "cgroup").write_text("4:memory:/docker/0123\n")

    assert memory_groups(proc, root) == [MemoryGroup(path=root / "memory", version=1)]


def test_without_a_controller_there_is_no_group(proc: Path, root: Path) -> None:
    assert memory_groups(proc, root) == []


@pytest.mark.parametrize("version", FILES)
def test_no_limit_is_none(root: Path, version: int) -> None:
    make(root / "a", version, ANY[version])

    group = MemoryGroup(path=root / "a", version=version)

    assert (group.limit, group.available) == (None, None)


@pytest.mark.parametrize("version", FILES)
def test_what_is_free_and_cache_is_available(root: Path, version: int) -> None:
    make(root / "a", version, "1000", used=900, cache=30)

    group = MemoryGroup(path=root / "a", version=version)

    assert (group.limit, group.available) == (1000, 130)


def test_a_group_that_is_beyond_its_limit_has_nothing(root: Path) -> None:
    make(root / "a", 2, "1000", used=1100)

    assert MemoryGroup(path=root / "a", version=2).available == 0


def test_a_group_that_has_gone_limits_nothing(root: Path) -> None:
    assert MemoryGroup(path=root / "gone", version=1).available is None


def test_the_lowest_limit_is_the_tightest(root: Path) -> None:
    limits: Mapping[str, str] = {"a": "2000", "b": "1000", "c": "max"}
    for name, limit in limits.items():
        make(root / name, 2, limit)
    groups = [MemoryGroup(path=root / name, version=2) for name in limits]

    assert tightest(groups) == groups[1]
    assert tightest(groups[2:]) is None


def test_the_groups_of_this_process_can_be_looked_at() -> None:
    for group in memory_groups():
        assert group.available is None or group.available >= 0


def nested(root: Path, *limits: str) -> list[MemoryGroup]:
    """Return groups within each other, the innermost first."""
    groups = []
    for number, limit in enumerate(limits):
        path = root / str(number)
        make(path, 2, limit)
        (path / "cgroup.procs").touch()
        groups.append(MemoryGroup(path=path, version=2))
    return groups


def entered(groups: list[MemoryGroup]) -> list[str]:
    return [(group.path / "cgroup.procs").read_text() for group in groups]


@pytest.mark.parametrize(
    ("limits", "number"),
    [
        (("1000", "max"), 1),
        (("max", "1000", "max", "max"), 2),
        (("max", "max"), None),
        (("max", "1000"), None),
        ((), None),
    ],
)
def test_a_process_moves_to_the_nearest_group_without_a_limit(
    root: Path, limits: tuple[str, ...], number: int | None
) -> None:
    groups = nested(root, *limits)

    found = leave_limits(groups)

    assert found == (None if number is None else groups[number])
    assert entered(groups) == ["0" if at == number else "" for at in range(len(groups))]


def test_a_group_that_may_not_be_entered_is_an_error(root: Path) -> None:
    groups = nested(root, "1000", "max")
    (groups[1].path / "cgroup.procs").unlink()
    (groups[1].path / "cgroup.procs").mkdir()

    with pytest.raises(IsADirectoryError):
        leave_limits(groups)
