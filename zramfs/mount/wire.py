"""The FUSE structures that the lane reads and writes, as the kernel lays them out.

Names and layouts are those of ``include/uapi/linux/fuse.h`` (protocol 7.45),
little endian. Nothing here raises: what came over the wire is only described, and
the caller decides.
"""

from struct import Struct
from typing import Final

# enum fuse_opcode
FUSE_OPEN: Final = 14
FUSE_READ: Final = 15
FUSE_WRITE: Final = 16
FUSE_RELEASE: Final = 18
FUSE_INIT: Final = 26
FUSE_INTERRUPT: Final = 36
FUSE_FALLOCATE: Final = 43
FUSE_LSEEK: Final = 46

COUNTED: Final = frozenset({FUSE_OPEN, FUSE_RELEASE})
"""Requests that must be done exactly once: they count who has a file open."""

FUSE_NOTIFY_RESEND: Final = 7  # enum fuse_notify_code

FUSE_UNIQUE_RESEND: Final = 1 << 63
"""In the unique of a request that was sent before."""

NO_REPLY: Final = frozenset({2, 42})
"""FUSE_FORGET and FUSE_BATCH_FORGET: requests that nobody answers."""

REQUEST: Final = Struct("<IIQQ16xQQI")
"""struct fuse_in_header (len opcode unique nodeid, and what we do not need), then
the fields with which fuse_read_in and fuse_write_in both begin: fh offset size."""

IN_HEADER: Final = Struct("<IIQ")
"""The fields with which struct fuse_in_header begins: len opcode unique."""

NODEID: Final = Struct("<Q")
IN_HEADER_NODEID: Final = 16
"""Where struct fuse_in_header has its nodeid."""
IN_HEADER_SIZE: Final = 40
READ_IN_END: Final = IN_HEADER_SIZE + 40
WRITE_IN_END: Final = IN_HEADER_SIZE + 40
WRITE_IN_SIZE: Final = IN_HEADER_SIZE + 16
"""Where fuse_write_in has its size."""

FALLOCATE: Final = Struct("<QQQI")
"""struct fuse_fallocate_in: fh offset length mode (and padding)."""
FALLOCATE_END: Final = IN_HEADER_SIZE + 32

LSEEK: Final = Struct("<QQI")
"""struct fuse_lseek_in: fh offset whence (and padding)."""
LSEEK_END: Final = IN_HEADER_SIZE + 24

OUT_HEADER: Final = Struct("<IiQ")
"""struct fuse_out_header: len error unique."""
OUT_HEADER_SIZE: Final = OUT_HEADER.size

WRITE_OUT: Final = Struct("<IiQII")
"""OUT_HEADER and struct fuse_write_out: size padding."""
WRITE_OUT_SIZE: Final = WRITE_OUT.size
LSEEK_OUT: Final = Struct("<IiQQ")
"""OUT_HEADER and struct fuse_lseek_out: offset."""
OPEN_OUT: Final = Struct("<IiQQII")
"""OUT_HEADER and struct fuse_open_out: fh open_flags backing_id."""
FOPEN_DIRECT_IO: Final = 1

U32: Final = Struct("<I")
INIT_FLAGS: Final = IN_HEADER_SIZE + 12
"""Where fuse_init_in has flags; flags2, the bits from 32 on, is next to it."""
INIT_FLAGS2: Final = IN_HEADER_SIZE + 16
FUSE_INIT_EXT: Final = 1 << 30  # there are flags2
FUSE_HAS_RESEND_2: Final = 1 << 39 - 32  # the bit of flags2
BACKGROUND: Final = Struct("<HH")
INIT_OUT_BACKGROUND: Final = OUT_HEADER_SIZE + 16
"""Where fuse_init_out has max_background and congestion_threshold."""

FALLOC_FL_KEEP_SIZE: Final = 1  # linux/falloc.h
FALLOC_FL_PUNCH_HOLE: Final = 2
FALLOC_FL_ZERO_RANGE: Final = 16

# What every request of the swapfile calls, bound once: 30 ns each.
unpack_request: Final = REQUEST.unpack_from
pack_out_header: Final = OUT_HEADER.pack
pack_write_out: Final = WRITE_OUT.pack
