"""zramfs.cli.main: the commands, their exit status, and one sentence for a refusal."""

import argparse
import errno
import subprocess
import sys
from dataclasses import dataclass

import pytest

import zramfs
from zramfs.cli.main import COMMANDS, main, make_parser
from zramfs.errors import MountRefused


@dataclass(frozen=True, slots=True)
class Scripted:
    """A command that ends as it is told to."""

    outcome: int | BaseException

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """There are no arguments."""

    def run(self, args: argparse.Namespace) -> int:
        assert args.command == "status"
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def run(monkeypatch: pytest.MonkeyPatch, outcome: int | BaseException) -> int:
    monkeypatch.setattr("zramfs.cli.main.command_of", lambda _: Scripted(outcome))
    return main(["status"])


@pytest.mark.parametrize("status", [0, 1, 7])
def test_the_status_of_a_command_is_the_status(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    assert run(monkeypatch, status) == status


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MountRefused("not now"), "zramfs: not now\n"),
        (OSError(errno.ENOSPC, "No space left"), "zramfs: No space left\n"),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "/x"),
            "zramfs: /x: No such file\n",
        ),
    ],
    ids=["refusal", "system", "file"],
)
def test_a_refusal_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    sentence: str,
) -> None:
    assert run(monkeypatch, error) == 1
    assert capsys.readouterr() == ("", sentence)


def test_ctrl_c_is_the_status_of_sigint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("", "")


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError, match="ours"):
        run(monkeypatch, ZeroDivisionError("ours"))


@pytest.mark.parametrize(
    "words",
    [[], ["bogus"], ["mount"], ["umount"], ["status", "--bogus"], ["swapoff"]],
    ids=" ".join,
)
def test_a_wrong_command_line_is_status_2_and_one_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)

    assert end.value.code == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert sentence.startswith("zramfs")


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])

    assert end.value.code == 0
    assert capsys.readouterr().out == f"zramfs {zramfs.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])

    assert end.value.code == 0
    assert f"usage: zramfs {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_says_what_each_command_does(command: str) -> None:
    lines = [line.split() for line in make_parser().format_help().splitlines()]

    assert any(line[:1] == [command] and len(line) > 3 for line in lines)


@pytest.mark.parametrize(
    "command", ["umount", "swapoff", "status", "top", "doctor", "upgrade"]
)
def test_a_command_that_makes_no_device_starts_without_numpy(command: str) -> None:
    program = (
        "import sys\n"
        "from zramfs.cli.main import make_parser\n"
        f"make_parser([{command!r}])\n"
        "print(*{'numpy', 'trio', 'cryptography'} & sys.modules.keys())"
    )

    said = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    assert said.stdout == "\n"


def test_an_unknown_mountpoint_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["umount", "/no/where"]) == 1
    assert capsys.readouterr().err == "zramfs: no zramfs is mounted on /no/where\n"
