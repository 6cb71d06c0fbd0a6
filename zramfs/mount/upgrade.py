"""Asking a supervisor for a worker of another program.

The supervisor listens on a socket in the abstract namespace, named after its
process. Whoever has its user, or is root, may send one packet, the program as JSON,
and gets one back: the new worker's process, or why there is none. Each side asks
the kernel who the other is (SO_PEERCRED).
"""

import json
import os
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final, Self

from zramfs.errors import MountRefused

_PACKET_MAX: Final = 1 << 16

_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid uid gid

_ASK_S: Final = 1.0
"""A client that has connected asks at once; the supervisor waits for nobody."""

_ANSWER_S: Final = 120.0
"""Twice what the supervisor allows for all that an upgrade takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Which interpreter runs a worker, and where it finds the package."""

    executable: str
    path: str
    """PYTHONPATH."""

    def words(self, config: str) -> tuple[str, ...]:
        """Return the command of a worker for the mount of *config*."""
        # -P: root must not import what happens to lie in the current directory.
        return (self.executable, "-P", "-m", "zramfs.mount.worker", config)

    def environment(self) -> Mapping[str, str]:
        """Return the environment of that command."""
        return os.environ | {"PYTHONPATH": self.path}


def _address(pid: int) -> str:
    return f"\0zramfs-supervisor-{pid}"


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Return process and user of the other end."""
    size = _CREDENTIALS.size
    text = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid, uid, _ = _CREDENTIALS.unpack(text)
    return pid, uid


class Petition:
    """Somebody's wish for an upgrade, to be answered once."""

    __slots__ = ("_connection", "program")

    def __init__(self, connection: socket.socket, program: Program) -> None:
        self._connection = connection
        self.program = program

    def grant(self, pid: int) -> None:
        """Say that the worker *pid* serves."""
        self._answer({"pid": pid})

    def refuse(self, why: str) -> None:
        """Say that the old worker serves, and why."""
        self._answer({"refusal": why})

    def _answer(self, answer: Mapping[str, str | int]) -> None:
        with self._connection, suppress(OSError):  # nobody waits for it any more
            self._connection.send(json.dumps(answer).encode())


class Door:
    """Where petitions arrive."""

    __slots__ = ("_socket",)

    def __init__(self) -> None:
        """Open it; OSError if somebody else has its name."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.bind(_address(os.getpid()))
        except OSError:
            self._socket.close()
            raise
        self._socket.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def admit(self) -> Petition | None:
        """Take who waits; None if that is nobody, or nobody who may ask."""
        try:
            connection, _ = self._socket.accept()
        except OSError:  # it has gone
            return None
        _, uid = _peer(connection)
        try:
            if uid not in (0, os.geteuid()):
                raise PermissionError
            connection.settimeout(_ASK_S)
            program = Program(**json.loads(connection.recv(_PACKET_MAX)))
        except (OSError, TypeError, ValueError):
            connection.close()
            return None
        return Petition(connection, program)


def ask(supervisor: int, program: Program) -> int:
    """Have *supervisor* replace its worker by one of *program*; return its process.

    MountRefused, with the old one serving, if that cannot be.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(_ANSWER_S)
        try:
            connection.connect(_address(supervisor))
            if _peer(connection)[0] != supervisor:
                raise PermissionError("another process answers in its place")
            connection.send(json.dumps(asdict(program)).encode())
            text = connection.recv(_PACKET_MAX)
        except (BrokenPipeError, ConnectionResetError):  # hung up on
            text = b""
        except OSError as error:
            raise MountRefused(
                f"process {supervisor} cannot be asked: {error}"
            ) from error
    if not text:
        raise MountRefused("only root, and who mounted it, may upgrade it")
    answer = json.loads(text)
    if "refusal" in answer:
        raise MountRefused(f"not upgraded: {answer['refusal']}")
    return int(answer["pid"])
