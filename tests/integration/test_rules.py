"""The rules of a run: no skip is silent, no trouble in a log goes unnoticed."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.checklogs import unannounced
from tests.integration.capabilities import missing
from tests.integration.commands import ROOT, attempt

_SUITE: Final = """
import pytest

@pytest.mark.mount
@pytest.mark.requires("no-such-program")
def test_mount():
    pass

@pytest.mark.requires("no-such-program")
def test_other():
    pass
"""

_LOG: Final = """
import logging

def test_quiet():
    logging.getLogger("zramfs").info("serving")

def test_trouble():
    logging.getLogger("zramfs").warning("in trouble")

def test_announced(announced):
    announced.append("in trouble")
    logging.getLogger("zramfs").warning("in trouble")
"""


_PATHS: Final = """
import pytest

@pytest.mark.paths("always", "off")
def test_lane(data_path):
    pass

@pytest.mark.paths("off", "pyfuse3")
def test_elsewhere(data_path):
    pass

def test_any(data_path):
    pass
"""


def _pytest(
    place: Path, suite: str, *options: str, ci: str = ""
) -> subprocess.CompletedProcess[str]:
    (place / "test_suite.py").write_text(suite)
    configuration = place / "pytest.ini"
    configuration.write_text("[pytest]\nmarkers = mount\ntimeout = 20\n")
    return attempt(
        *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-ra", *options),
        *("-c", configuration, "--basetemp", place / "temp", place),
        extra={"CI": ci, "PYTHONPATH": str(ROOT)},
    )


def test_a_skip_prints_its_reason(tmp_path: Path) -> None:
    done = _pytest(tmp_path, _SUITE)

    assert done.returncode == 0
    assert "2 skipped" in done.stdout
    assert "requires no-such-program: no such program is installed" in done.stdout


def test_a_skip_fails_where_none_is_allowed(tmp_path: Path) -> None:
    done = _pytest(tmp_path, _SUITE, "--no-skips")

    assert done.returncode == 1
    assert "2 failed" in done.stdout or "2 errors" in done.stdout
    assert "requires no-such-program: no such program is installed" in done.stdout


@pytest.mark.requires("root", "fuse")
def test_a_skipped_mount_test_fails_in_ci(tmp_path: Path) -> None:
    done = _pytest(tmp_path, _SUITE, ci="true")

    assert done.returncode == 1
    assert "1 skipped, 1 error" in done.stdout


def test_a_capability_is_a_probe_or_a_program() -> None:
    assert missing("sh") is None
    assert missing("no-such-program") == "no such program is installed"


def test_trouble_in_the_log_fails_a_test(tmp_path: Path) -> None:
    done = _pytest(tmp_path, _LOG)

    assert done.returncode == 1
    assert "3 passed, 1 error" in done.stdout
    assert "WARNING: in trouble" in done.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            [],
            ["lane[always]", "elsewhere[off]", "elsewhere[pyfuse3]", "any[always]"],
        ),
        (
            ["--every-path"],
            [
                *("lane[always]", "lane[off]", "elsewhere[off]", "elsewhere[pyfuse3]"),
                *("any[always]", "any[no_wb]", "any[off]", "any[pyfuse3]"),
            ],
        ),
    ],
    ids=["default", "every-path"],
)
def test_a_test_runs_for_the_paths_that_it_can_hold_for(
    tmp_path: Path, options: list[str], expected: list[str]
) -> None:
    done = _pytest(tmp_path, _PATHS, "--collect-only", "-q", *options)

    collected = [line for line in done.stdout.splitlines() if "::" in line]
    assert [line.partition("::test_")[2] for line in collected] == expected


@pytest.mark.parametrize(
    "line",
    [
        "zramfs[7]: WARNING: something",
        "zramfs[7]: ERROR: something",
        "CRITICAL: something",
        "Traceback (most recent call last):",
    ],
)
def test_trouble_is_found(line: str) -> None:
    assert unannounced([line], []) == [line]
    assert unannounced([line], ["something|Traceback"]) == []


def test_what_is_no_trouble_is_left_alone() -> None:
    lines = ["zramfs[7]: INFO: serving /mnt/WARNINGS", "  a line of a table"]

    assert unannounced(lines, []) == []
