"""FUSE messages as the kernel lays them out, written down a second time.

From include/uapi/linux/fuse.h, not from zramfs.mount.wire: what is wrong there must
not be wrong here as well.
"""

import struct
from dataclasses import dataclass
from typing import Final

# enum fuse_opcode
LOOKUP: Final = 1
FORGET: Final = 2
GETATTR: Final = 3
OPEN: Final = 14
READ: Final = 15
WRITE: Final = 16
RELEASE: Final = 18
INIT: Final = 26
INTERRUPT: Final = 36
DESTROY: Final = 38
BATCH_FORGET: Final = 42
FALLOCATE: Final = 43
LSEEK: Final = 46

SWAPFILE: Final = 2
CONTROL_FILE: Final = 5

PUNCH_HOLE: Final = 2 | 1  # with KEEP_SIZE, which the kernel demands
ZERO_RANGE: Final = 16

IN_HEADER: Final = struct.Struct("<IIQQIIIHH")
"""len opcode unique nodeid uid gid pid total_extlen padding."""
READ_IN: Final = struct.Struct("<QQIIQII")
"""fh offset size read_flags lock_owner flags padding."""
WRITE_IN: Final = READ_IN
FALLOCATE_IN: Final = struct.Struct("<QQQII")
"""fh offset length mode padding."""
LSEEK_IN: Final = struct.Struct("<QQII")
"""fh offset whence padding."""
CAPABLE: Final = 1 | 1 << 5 | 1 << 13 | 1 << 14 | 1 << 22
"""FUSE_ASYNC_READ BIG_WRITES DO_READDIRPLUS READDIRPLUS_AUTO MAX_PAGES."""
INIT_IN: Final = struct.Struct("<IIIII44x")
"""major minor max_readahead flags flags2."""
INIT_OUT: Final = struct.Struct("<IIIIHHIIHHI28x")
"""major minor max_readahead flags max_background congestion_threshold max_write
time_gran max_pages map_alignment flags2."""
OUT_HEADER: Final = struct.Struct("<IiQ")
"""len error unique."""


@dataclass(frozen=True, slots=True)
class Reply:
    unique: int
    error: int
    body: bytes = b""


def request(
    opcode: int, unique: int, body: bytes = b"", *, nodeid: int = SWAPFILE
) -> bytes:
    length = IN_HEADER.size + len(body)
    return IN_HEADER.pack(length, opcode, unique, nodeid, 0, 0, 1, 0, 0) + body


def init(unique: int, *, flags: int = 0, flags2: int = 0) -> bytes:
    """Return an INIT of protocol 7.45."""
    body = INIT_IN.pack(7, 45, 1 << 17, CAPABLE | flags, flags2)
    return request(INIT, unique, body, nodeid=0)


def open_swapfile(unique: int) -> bytes:
    return request(OPEN, unique, struct.pack("<II", 2, 0))


def release_swapfile(unique: int) -> bytes:
    return request(RELEASE, unique, struct.pack("<QIIQ", SWAPFILE, 2, 0, 0))


def read(unique: int, offset: int, size: int) -> bytes:
    body = READ_IN.pack(SWAPFILE, offset, size, 0, 0, 0, 0)
    return request(READ, unique, body)


def write(unique: int, offset: int, data: bytes, *, nodeid: int = SWAPFILE) -> bytes:
    body = WRITE_IN.pack(SWAPFILE, offset, len(data), 0, 0, 0, 0)
    return request(WRITE, unique, body + data, nodeid=nodeid)


def fallocate(unique: int, offset: int, length: int, mode: int = PUNCH_HOLE) -> bytes:
    return request(
        FALLOCATE, unique, FALLOCATE_IN.pack(SWAPFILE, offset, length, mode, 0)
    )


def lseek(unique: int, offset: int, whence: int, *, nodeid: int = SWAPFILE) -> bytes:
    body = LSEEK_IN.pack(nodeid, offset, whence, 0)
    return request(LSEEK, unique, body, nodeid=nodeid)


def answer(unique: int, body: bytes = b"", *, error: int = 0) -> bytes:
    """Return what libfuse sends as the answer to a request."""
    return OUT_HEADER.pack(OUT_HEADER.size + len(body), error, unique) + body


def opened(handle: int, flags: int) -> bytes:
    """Return struct fuse_open_out."""
    return struct.pack("<QII", handle, flags, 0)


def written(size: int) -> bytes:
    """Return struct fuse_write_out."""
    return struct.pack("<II", size, 0)


def found(offset: int) -> bytes:
    """Return struct fuse_lseek_out."""
    return struct.pack("<Q", offset)


def parsed(message: bytes) -> Reply:
    length, error, unique = OUT_HEADER.unpack_from(message)
    assert length == len(message), "fuse_out_header.len"
    return Reply(unique, error, message[OUT_HEADER.size :])
