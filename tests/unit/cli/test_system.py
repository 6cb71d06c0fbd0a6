"""zramfs.cli.system: the system's own commands, and what they say."""

from pathlib import Path

import pytest

from tests.unit.cli.mounts import Commands
from zramfs.cli import system
from zramfs.errors import MountRefused


def test_a_command_gives_what_it_prints(commands: Commands) -> None:
    commands.install("mkswap", "echo made; echo noise >&2")

    assert system.command("mkswap", Path("/dev/loop0")) == "made\n"
    assert commands.called() == ["mkswap /dev/loop0"]


def test_a_command_speaks_english(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    commands.install("mkswap", 'echo "$LC_ALL"')

    assert system.command("mkswap") == "C\n"


@pytest.mark.usefixtures("commands")
def test_a_missing_command_is_named_with_its_package() -> None:
    with pytest.raises(
        MountRefused, match=r"^blkid is missing: install the package ut"
    ):
        system.command("blkid")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("swapon: /dev/loop0: busy", "swapon: /dev/loop0: busy"),
        ("cannot open /dev/loop0", "swapon: cannot open /dev/loop0"),
        ("", "swapon: exit status 3"),
    ],
    ids=["named", "unnamed", "silent"],
)
def test_a_failure_is_told_in_the_words_of_the_command(
    commands: Commands, said: str, sentence: str
) -> None:
    commands.install("swapon", f"printf '%s\n' '{said}' >&2; exit 3")

    with pytest.raises(MountRefused) as refusal:
        system.command("swapon", "/dev/loop0")

    assert str(refusal.value) == sentence


def test_a_loop_device_is_attached_past_the_page_cache(commands: Commands) -> None:
    commands.install("losetup", "echo /dev/loop7")

    assert system.attach(Path("/mnt/z/swapfile")) == Path("/dev/loop7")
    assert commands.called() == [
        "losetup --find --show --direct-io=on --sector-size 4096 /mnt/z/swapfile"
    ]


def test_requests_are_completed_by_the_processor_that_made_them(
    tmp_path: Path,
) -> None:
    affinity = tmp_path / "loop7" / "queue" / "rq_affinity"
    affinity.parent.mkdir(parents=True)
    affinity.write_text("1\n")

    system.complete_where_asked(Path("/dev/loop7"), tmp_path)

    assert affinity.read_text() == "2"


def test_a_loop_device_without_a_queue_is_left_as_it_is(tmp_path: Path) -> None:
    system.complete_where_asked(Path("/dev/loop7"), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_loop_device_is_detached(commands: Commands) -> None:
    system.detach(Path("/dev/loop7"))

    assert commands.called() == ["losetup --detach /dev/loop7"]


@pytest.mark.usefixtures("user")
def test_who_is_not_root_is_told_to_be() -> None:
    with pytest.raises(MountRefused, match=r"^swapon needs root$"):
        system.require_root("swapon")


@pytest.mark.usefixtures("root")
def test_root_is_root() -> None:
    system.require_root("swapon")
