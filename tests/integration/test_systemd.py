"""The unit for systemd: well formed, and with the rights that the daemon needs."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.integration import teardown
from tests.integration.commands import ROOT, ZRAMFS, attempt, run, zramfs
from tests.integration.mounts import Mount
from tests.integration.swapping import turn

pytestmark = [pytest.mark.mount]

UNIT: Final = ROOT / "systemd" / "zramfs@.service"

KNOWN_LATER: Final = {"SurviveFinalKillSignal": 255}
"""Settings that an older systemd does not know, and the version that does."""


def _setting(name: str) -> str:
    match = re.search(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert match, name
    return match[1]


@pytest.mark.requires("systemd-analyze")
def test_systemd_understands_the_unit(place: Path) -> None:
    program = place / "zramfs"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = place / UNIT.name
    unit.write_text(UNIT.read_text().replace("=zramfs ", f"={program} "))

    done = attempt("systemd-analyze", "verify", "--man=no", unit)

    version = int(run("systemd-analyze", "--version").split()[1])
    allowed = [name for name, since in KNOWN_LATER.items() if version < since]
    complaints = [
        line
        for line in done.stderr.splitlines()
        if str(place) in line and not any(f"'{name}'" in line for name in allowed)
    ]
    assert (done.returncode, complaints) == (0, [])


@pytest.mark.requires("root", "fuse", "loop", "mkswap", "swapon", "setpriv")
def test_its_rights_are_enough_to_swap(place: Path) -> None:
    path = place / "mnt"
    path.mkdir()
    names = _setting("CapabilityBoundingSet").lower().replace("cap_", "+").split()
    rights = f"--bounding-set=-all,{','.join(names)}"
    log = place / "log"
    with turn():
        run(
            *("setpriv", rights, "--no-new-privs", *ZRAMFS, "mount", path),
            *("--disksize", "16M", "--log-file", log),
        )
        run("setpriv", rights, "--no-new-privs", *ZRAMFS, "swapon", path)
        swapped = set(teardown.loops_below(path)) & teardown.swaps().keys()
        initstate = Mount(path=path, log=log).show("initstate")
        run("setpriv", rights, "--no-new-privs", *ZRAMFS, "swapoff", path)

    assert len(swapped) == 1
    assert initstate == "1\n"
    assert teardown.leftovers(place) == []


def test_its_commands_are_commands() -> None:
    lines = re.findall(r"^Exec\w+=zramfs (\w+)", UNIT.read_text(), re.MULTILINE)

    assert lines == ["mount", "swapon", "swapoff"]
    for command in lines:
        assert "MOUNTPOINT" in zramfs(command, "--help")
