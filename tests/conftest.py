"""Fixtures of all tests, and the rules of a run: what may be skipped, what is swept.

A mark ``requires("fuse", ...)`` names what a test cannot do without; where it is
missing the test is skipped, and the reason printed. With ``--no-skips`` a skip is a
failure; so is, without being asked, that of a mount test in CI where mounts work.
"""

import getpass
import itertools
import os
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import pytest

# Their assertions are explained as those of a test module are.
pytest.register_assert_rewrite(
    "tests.checklogs",
    "tests.crash.killing",
    "tests.integration.commands",
    "tests.integration.mounts",
)

from tests.checklogs import unannounced  # noqa: E402  # rewritten first
from tests.integration import loops, mounts, teardown  # noqa: E402
from tests.integration.capabilities import missing, summary  # noqa: E402

_WATCHDOG_S: Final = 20.0
"""Grace between a test's timeout and the abort of the connections it hangs on."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail what is skipped")
    parser.addoption(
        "--every-path",
        action="store_true",
        help="run every mount test for every data path, not only those it is about",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requires(*names): skip where one is missing")
    config.addinivalue_line("markers", "every_path: run for every data path")
    config.addinivalue_line("markers", "paths(*names): data paths that it can hold for")


def pytest_report_header() -> str:
    return f"capabilities: {summary()}"


def _sweep_root() -> Path:
    """Return the directory in which pytest makes one for each run."""
    root = os.environ.get("PYTEST_DEBUG_TEMPROOT") or tempfile.gettempdir()
    return Path(root, f"pytest-of-{getpass.getuser()}").resolve()


# In hooks, because a fixture's time is part of some test's timeout. Of several
# processes one sweeps, when the others have ended: each would sweep what they use.
def pytest_sessionstart(session: pytest.Session) -> None:
    if not _is_worker(session.config):
        teardown.sweep(_sweep_root())


@pytest.hookimpl(tryfirst=True)  # before pytest removes the directories
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not _is_worker(session.config):
        teardown.sweep(_sweep_root())


def _is_worker(config: pytest.Config) -> bool:
    """Whether this is a process that another one hands its tests to."""
    return hasattr(config, "workerinput")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("requires"):
        for name in mark.args:
            reason = missing(name)
            if reason:
                pytest.skip(f"requires {name}: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and not _may_skip(item):
        report.outcome = "failed"
        report.longrepr = f"skipped, which fails this run: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and collector.config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which fails this run: {_reason(report)}"
    return report


def _may_skip(item: pytest.Item) -> bool:
    if item.config.getoption("--no-skips"):
        return False
    in_ci = os.environ.get("CI") == "true"
    mounts_work = not missing("root") and not missing("fuse")
    return not (in_ci and mounts_work and item.get_closest_marker("mount"))


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2]
    return str(report.longrepr)


@pytest.fixture
def announced() -> list[str]:
    """Patterns of the log lines from WARNING up that a test expects: append to it."""
    return []


@pytest.fixture(autouse=True)
def _quiet_log(
    caplog: pytest.LogCaptureFixture, announced: list[str]
) -> Iterator[None]:
    """Fail the test whose code logged a trouble that it did not announce."""
    yield
    lines = [
        f"{record.levelname}: {record.getMessage()}"
        for record in caplog.get_records("call")
    ]
    assert unannounced(lines, announced) == []


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """A directory; what is mounted, attached or running on it is taken down at the end.

    Should the test hang on a mount beyond its timeout, the connection is aborted.
    """
    monkeypatch.setenv(teardown.MARK, str(tmp_path))
    mark = request.node.get_closest_marker("timeout")
    timeout_s = float(mark.args[0] if mark else request.config.getini("timeout"))
    watchdog = threading.Timer(
        timeout_s + _WATCHDOG_S, teardown.abort_below, [tmp_path]
    )
    watchdog.daemon = True
    watchdog.start()
    try:
        yield tmp_path
    finally:
        teardown.take_down(tmp_path)
        watchdog.cancel()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test that mounts the data paths that it must hold for.

    Tests of what READ and WRITE do run for every one; the others ask things that
    no path has a part in, and run for the default unless --every-path is given. The
    mark ``every_path`` is that option for one test. A mark ``paths("always", ...)``
    names those that the test can hold for, and a test that cannot hold for the
    default runs for all that it can.
    """
    if "data_path" not in metafunc.fixturenames:
        return
    module = metafunc.module.__name__.rpartition(".")[2]
    names = mounts.PATH_MODULES.get(module, mounts.DEFAULT_PATHS)
    every = metafunc.config.getoption("--every-path")
    if every or metafunc.definition.get_closest_marker("every_path"):
        names = tuple(mounts.DATA_PATHS)
    mark = metafunc.definition.get_closest_marker("paths")
    if mark:
        names = tuple(name for name in names if name in mark.args) or mark.args
    paths = [mounts.DATA_PATHS[name] for name in names]
    metafunc.parametrize("data_path", paths, ids=names)


@pytest.fixture
def mounted(
    place: Path, data_path: tuple[str, ...], announced: list[str]
) -> mounts.MountFactory:
    """Mount the real thing: ``with mounted("--disksize", "64M") as mount:``."""
    numbers = itertools.count()

    def factory(*options: str) -> AbstractContextManager[mounts.Mount]:
        name = f"mnt{next(numbers)}"
        log = place / f"{name}.log"
        return mounts.mounted(place / name, log, (*data_path, *options), announced)

    return factory


Report = Callable[[str], None]

_FIGURES: Final = pytest.StashKey[list[str]]()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Print a line of measured figures at the end of the run."""
    return request.config.stash.setdefault(_FIGURES, []).append


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    figures = config.stash.get(_FIGURES, [])
    if figures:
        terminalreporter.section("measured")
        for line in figures:
            terminalreporter.line(line)


LoopFactory = Callable[[Path], AbstractContextManager[Path]]


@pytest.fixture
def loop() -> LoopFactory:
    """Attach a loop device: ``with loop(mount.swapfile) as device:``."""
    return loops.attached
