"""zramfs.cli.mount: a daemon in the background, or to become it."""

import pytest

from tests.unit.cli.mounts import Notes
from zramfs.cli import daemon
from zramfs.cli.main import main


@pytest.mark.parametrize("status", [0, 1])
def test_mounting_has_the_status_of_the_daemon(notes: Notes, status: int) -> None:
    notes.replace(daemon, "start", status)

    assert main(["mount", "/mnt/z"]) == status


def test_the_daemon_is_told_what_to_mount(notes: Notes) -> None:
    notes.replace(daemon, "start", 0)

    main(["mount", "/mnt/z", "--disksize", "1G", "-o", "rw_page=off"])

    [call] = notes.calls
    assert "mountpoint='/mnt/z'" in call
    assert "settings={'disksize': '1G', 'rw_page': 'off'}" in call
    assert "foreground=False" in call


@pytest.mark.parametrize("option", ["-f", "--foreground"])
def test_in_the_foreground_the_command_becomes_the_daemon(
    notes: Notes, option: str
) -> None:
    notes.replace(daemon, "become", error=SystemExit(0))

    with pytest.raises(SystemExit):
        main(["mount", option, "/mnt/z"])

    [call] = notes.calls
    assert "foreground=True" in call
