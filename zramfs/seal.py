"""Seals: what is kept in memory of each block, so that it comes back as it was.

A checksum tells a block that the disk changed. With encryption, the seal is the
nonce and the tag of an AEAD: then nobody can read or forge a block, and a block put
back to what it was earlier is told, too, because the tag that counts is in memory.

    checksum      8 bytes   xxh3_64 of the block
    AEAD         24 bytes   nonce (8), tag (16)

The key is made when the first backing device of this memory is opened. It is in the
header of the memory, which is locked, and in the cipher made of it, and dies with
them. A nonce is a number counted up in the header: it is taken before it is used, so
that no crash, and no restart of the worker, makes one come twice.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from xxhash import xxh3_64_digest

from zramfs.core.header import Header
from zramfs.errors import CorruptBlock
from zramfs.units import PAGE_SIZE

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_COUNT_BYTES: Final = 8
_TAG_BYTES: Final = 16


class Sealer(Protocol):
    """One way of sealing blocks."""

    @property
    def seal_bytes(self) -> int:
        """The size of a seal."""

    def seal(self, pages: Sequence[memoryview]) -> bytes:
        """Make of *pages*, in place, what is to be written; return their seals."""

    def open(self, block: memoryview, seal: bytes) -> bytes:
        """Return the page that *block* was made of; CorruptBlock if it is another."""


class Checksum:
    """Blocks as they are, with a checksum."""

    seal_bytes: Final = 8

    def seal(self, pages: Sequence[memoryview]) -> bytes:
        """Return the checksums of *pages*."""
        return b"".join(map(xxh3_64_digest, pages))

    def open(self, block: memoryview, seal: bytes) -> bytes:
        """Return *block*; CorruptBlock if its checksum is not *seal*."""
        # Copied first: a device that still changes its buffer changes no page.
        page = bytes(block)
        if xxh3_64_digest(page) != seal:
            raise CorruptBlock("its checksum is wrong")
        return page


class Aead(Protocol):
    """An authenticated cipher."""

    def encrypt(self, nonce: bytes, data: memoryview, associated: None, /) -> bytes:
        """Return *data* encrypted, and the tag."""

    def decrypt(self, nonce: bytes, data: bytes, associated: None, /) -> bytes:
        """Return what was encrypted; InvalidTag if it was not."""


class Encryption:
    """Blocks that only this memory can read, by the key and the count in *header*."""

    seal_bytes: Final = _COUNT_BYTES + _TAG_BYTES

    def __init__(self, make_cipher: Callable[[bytes], Aead], header: Header) -> None:
        key = header.keys[:_KEY_BYTES]
        if not any(key):
            key[:] = secrets.token_bytes(_KEY_BYTES)
        self._cipher = make_cipher(bytes(key))
        self._words = header.words

    def seal(self, pages: Sequence[memoryview]) -> bytes:
        """Encrypt *pages*, and return their nonces and tags."""
        seals = []
        for page in pages:
            count = self._words.nonce.to_bytes(_COUNT_BYTES, "little")
            self._words.nonce += 1
            sealed = self._cipher.encrypt(count.ljust(_NONCE_BYTES, b"\0"), page, None)
            page[:] = sealed[:PAGE_SIZE]
            seals += [count, sealed[PAGE_SIZE:]]
        return b"".join(seals)

    def open(self, block: memoryview, seal: bytes) -> bytes:
        """Return what *block* decrypts to; CorruptBlock if its tag is wrong."""
        nonce = seal[:_COUNT_BYTES].ljust(_NONCE_BYTES, b"\0")
        sealed = b"".join((block, seal[_COUNT_BYTES:]))
        try:
            return self._cipher.decrypt(nonce, sealed, None)
        except InvalidTag:
            raise CorruptBlock("its tag is wrong") from None


_CIPHERS: Final[dict[str, Callable[[bytes], Aead]]] = {
    "chacha20poly1305": ChaCha20Poly1305,
    "aes-gcm": AESGCM,
}

CIPHERS: Final = tuple(_CIPHERS)
"""What `make_sealer` takes; the first needs no help of the processor to be quick."""


def make_sealer(cipher: str | None, header: Header) -> Sealer:
    """Return what seals with *cipher*, one of CIPHERS, or with a checksum."""
    return Encryption(_CIPHERS[cipher], header) if cipher else Checksum()
