"""zramfs.mount.supervisor: the process that owns a mount, as one."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.mount.overseer import unchanged_signals
from zramfs.mount import supervisor
from zramfs.mount.config import Config

CONFIG = Config(
    mountpoint="/no/where",
    settings={},
    data_path="lane",
    foreground=True,
    log_file=None,
)

HEAVY = {"numpy", "trio", "pyfuse3", "rich", "cramjam", "lz4", "zstandard", "asyncio"}

_LIST = "import sys, zramfs.mount.supervisor; print(*sys.modules)"


def test_it_imports_nothing_that_takes_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIST], capture_output=True, text=True, check=True
    )

    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "zramfs" in loaded
    assert not loaded & HEAVY


def test_a_mountpoint_that_is_missing_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["supervisor", CONFIG.to_json()])

    assert supervisor.main() == 1
    assert capsys.readouterr().err == (
        "zramfs: /no/where does not exist: create it first\n"
    )


def test_a_worker_that_cannot_begin_ends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    config = replace(CONFIG, mountpoint=str(mountpoint))
    monkeypatch.setattr(sys, "argv", ["supervisor", config.to_json()])
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(supervisor, "harden", list)

    with unchanged_signals():
        assert supervisor.main() == 3
