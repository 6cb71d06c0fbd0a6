"""What a supervisor and its worker tell each other, descriptors included.

One message is one packet of a SOCK_SEQPACKET pair: a word, then a text. The
descriptors that go with it arrive as the receiver's own.

    supervisor                                  worker
      START generation  (memory)  ----------->
                        <-----------  PREPARED   all is imported and checked
      TURN  names (connection, stderr, kept)->   it alone serves from now on
                        <-----------  READY
                        <-----------  RESTARTABLE, CAUGHT_UP
                        <-----------  KEEP name (descriptor), DROP name
      STOP              ----------->             it ends, and others go on

Closing an end says that its process has died.
"""

import socket
from array import array
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

_TEXT_MAX: Final = 1 << 16
_RIGHTS_SIZE: Final = socket.CMSG_LEN(16 * array("i").itemsize)


class Word(Enum):
    """What a message is about."""

    START = "start"
    """To a worker: the memory, and how many workers there have been before."""
    PREPARED = "prepared"
    """It could take its turn."""
    TURN = "turn"
    """To a worker: nobody else uses the memory or the connection now."""
    READY = "ready"
    """It serves."""
    RESTARTABLE = "restartable"
    """The kernel can be asked again for what a dead worker leaves unanswered."""
    CAUGHT_UP = "caught up"
    """It has taken what the worker before it left."""
    KEEP = "keep"
    """A descriptor that must outlive the worker."""
    DROP = "drop"
    """It need not any more."""
    FAILED = "failed"
    """Why it ends, in a sentence."""
    STOP = "stop"
    """To a worker: end, and leave everything as it is for the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message; its descriptors are the receiver's to close."""

    word: Word
    text: str = ""
    fds: tuple[int, ...] = ()


class Channel:
    """One end of the pair."""

    __slots__ = ("_socket",)

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """Return two ends."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    @classmethod
    def adopt(cls, fd: int) -> Self:
        """Return the end that is descriptor *fd*, which no child inherits then."""
        end = socket.socket(fileno=fd)
        end.set_inheritable(False)  # positional only
        return cls(end)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def send(self, word: Word, text: str = "", fds: tuple[int, ...] = ()) -> None:
        """Send a message, unless the other end has died.

        BlockingIOError if the other end does not read.
        """
        packet = f"{word.value}\0{text}".encode(errors="surrogateescape")
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))
        with suppress(BrokenPipeError, ConnectionResetError):
            # socket.send_fds of Python 3.11 forgets its flags, and so does recv_fds.
            self._socket.sendmsg([packet], [rights], socket.MSG_DONTWAIT)

    def receive(self) -> Message | None:
        """Wait for a message and return it; None if the other end has died."""
        try:
            packet, rights, _, _ = self._socket.recvmsg(
                _TEXT_MAX, _RIGHTS_SIZE, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return None
        if not packet:
            return None
        fds = array("i")
        for _, _, received in rights:
            fds.frombytes(received)
        word, _, text = packet.decode(errors="surrogateescape").partition("\0")
        return Message(word=Word(word), text=text, fds=tuple(fds))

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
