"""zramfs.mount.upgrade: asking a supervisor for another worker."""

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from zramfs.errors import MountRefused
from zramfs.mount import upgrade
from zramfs.mount.upgrade import Door, Petition, Program

PROGRAM = Program(executable="/usr/bin/python3", path="/opt/zramfs")


@pytest.fixture
def door() -> Iterator[Door]:
    """This process, listening as a supervisor."""
    with Door() as door:
        yield door


def served(door: Door, serve: Callable[[Petition | None], None]) -> threading.Thread:
    """Let *serve* answer the next who comes."""
    thread = threading.Thread(target=lambda: serve(door.admit()))
    thread.start()
    return thread


def test_a_granted_wish_is_a_process(door: Door) -> None:
    def grant(petition: Petition | None) -> None:
        assert petition
        assert petition.program == PROGRAM
        petition.grant(4711)

    thread = served(door, grant)

    assert upgrade.ask(os.getpid(), PROGRAM) == 4711
    thread.join()


def test_a_refused_wish_is_a_sentence(door: Door) -> None:
    def refuse(petition: Petition | None) -> None:
        assert petition
        petition.refuse("it is broken")

    thread = served(door, refuse)

    with pytest.raises(MountRefused, match="not upgraded: it is broken"):
        upgrade.ask(os.getpid(), PROGRAM)
    thread.join()


def test_nobody_else_may_ask(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    admitted: list[Petition | None] = []
    thread = served(door, admitted.append)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    monkeypatch.setattr(upgrade, "_peer", lambda _: (os.getpid(), owner + 2))

    with pytest.raises(MountRefused, match="only root, and who mounted it"):
        upgrade.ask(os.getpid(), PROGRAM)
    thread.join()
    assert admitted == [None]


@pytest.mark.parametrize("text", [b"{}", b"[1]", b"\xff", b'{"executable": "x"}'])
def test_what_is_no_wish_is_dropped(door: Door, text: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(upgrade._address(os.getpid()))
        client.send(text)

        assert door.admit() is None
        assert client.recv(100) == b""


def test_a_client_that_says_nothing_is_not_waited_for(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "_ASK_S", 0.01)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(upgrade._address(os.getpid()))

        assert door.admit() is None


def test_an_answer_that_nobody_waits_for_is_lost(door: Door) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(upgrade._address(os.getpid()))
        client.send(b'{"executable": "x", "path": "y"}')
        petition = door.admit()

    assert petition
    petition.grant(1)


def test_without_a_supervisor_it_is_refused() -> None:
    with pytest.raises(MountRefused, match="cannot be asked"):
        upgrade.ask(os.getpid(), PROGRAM)


@pytest.mark.usefixtures("door")
def test_another_process_in_its_place_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upgrade, "_peer", lambda _: (1, 0))

    with pytest.raises(MountRefused, match="another process answers in its place"):
        upgrade.ask(os.getpid(), PROGRAM)


@pytest.mark.usefixtures("door")
def test_a_name_that_is_taken_is_an_error() -> None:
    with pytest.raises(OSError, match="in use"):
        Door()


def test_a_program_is_a_command_and_where_it_finds_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/root")

    assert PROGRAM.words("{}") == (
        *("/usr/bin/python3", "-P", "-m", "zramfs.mount.worker", "{}"),
    )
    environment = PROGRAM.environment()
    assert (environment["PYTHONPATH"], environment["HOME"]) == ("/opt/zramfs", "/root")
