"""zramfs.mount.wire: the structures have the kernel's layout."""

import pytest

from tests.unit.mount import wires
from zramfs.mount import wire

MANY = 0x8877665544332211


def test_a_read_is_understood_at_once() -> None:
    message = wires.read(MANY, (1 << 64) - 1, 4096)

    length, opcode, unique, nodeid, handle, offset, size = wire.unpack_request(message)

    assert (length, opcode, unique, nodeid) == (80, wire.FUSE_READ, MANY, 2)
    assert (handle, offset, size) == (2, (1 << 64) - 1, 4096)


def test_a_write_is_understood_like_a_read() -> None:
    message = wires.write(MANY, 4096, b"data")

    _, opcode, unique, _, _, offset, size = wire.unpack_request(message)

    assert (opcode, unique, offset, size) == (wire.FUSE_WRITE, MANY, 4096, 4)
    assert message[wire.WRITE_IN_END :] == b"data"
    assert wire.U32.unpack_from(message, wire.WRITE_IN_SIZE) == (4,)


def test_a_fallocate_is_understood() -> None:
    message = wires.fallocate(1, 4096, 8192, wires.PUNCH_HOLE)

    fields = wire.FALLOCATE.unpack_from(message, wire.IN_HEADER_SIZE)

    assert fields == (2, 4096, 8192, wire.FALLOC_FL_PUNCH_HOLE | 1)
    assert len(message) == wire.FALLOCATE_END


def test_an_lseek_is_understood() -> None:
    message = wires.lseek(1, 4096, 3)

    assert wire.LSEEK.unpack_from(message, wire.IN_HEADER_SIZE) == (2, 4096, 3)
    assert len(message) == wire.LSEEK_END


def test_replies_are_laid_out_as_in_fuse_h() -> None:
    assert wire.pack_out_header(16, -5, MANY) == wires.answer(MANY, error=-5)
    assert wire.pack_write_out(24, 0, MANY, 4096, 0) == wires.answer(
        MANY, wires.written(4096)
    )
    assert wire.LSEEK_OUT.pack(24, 0, MANY, 8192) == wires.answer(
        MANY, wires.found(8192)
    )


def test_the_background_fields_of_init_are_found() -> None:
    body = wires.INIT_OUT.pack(7, 45, 0, 0, 12, 9, 0, 0, 0, 0, 0)
    message = wires.answer(MANY, body)

    found = wire.BACKGROUND.unpack_from(message, wire.INIT_OUT_BACKGROUND)

    assert found == (12, 9)


NUMBERS = {
    "READ": (wire.FUSE_READ, wires.READ),
    "WRITE": (wire.FUSE_WRITE, wires.WRITE),
    "INIT": (wire.FUSE_INIT, wires.INIT),
    "INTERRUPT": (wire.FUSE_INTERRUPT, wires.INTERRUPT),
    "FALLOCATE": (wire.FUSE_FALLOCATE, wires.FALLOCATE),
    "LSEEK": (wire.FUSE_LSEEK, wires.LSEEK),
    "FORGET": (wire.NO_REPLY, {wires.FORGET, wires.BATCH_FORGET}),
    "fuse_in_header": (wire.IN_HEADER_SIZE, wires.IN_HEADER.size),
    "fuse_read_in": (wire.READ_IN_END, wires.IN_HEADER.size + wires.READ_IN.size),
    "fuse_write_in": (wire.WRITE_IN_END, wires.IN_HEADER.size + wires.WRITE_IN.size),
    "fuse_out_header": (wire.OUT_HEADER_SIZE, wires.OUT_HEADER.size),
}


@pytest.mark.parametrize(("ours", "kernels"), NUMBERS.values(), ids=NUMBERS)
def test_numbers_are_those_of_fuse_h(ours: object, kernels: object) -> None:
    assert ours == kernels
