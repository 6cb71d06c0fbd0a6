"""zramfs.seal: a block comes back as the page that it was made of, or not at all."""

import pytest

from tests.pages import make_page
from zramfs.core.device import Device
from zramfs.core.header import Header
from zramfs.errors import CorruptBlock
from zramfs.seal import CIPHERS, Encryption, Sealer, make_sealer
from zramfs.units import PAGE_SIZE

KINDS = (None, *CIPHERS)

PAGES = (make_page("text"), make_page("rand"), bytes(PAGE_SIZE))


@pytest.fixture(params=KINDS, ids=str)
def sealer(request: pytest.FixtureRequest) -> Sealer:
    return make_sealer(request.param, Header())


def sealed(sealer: Sealer, *pages: bytes) -> list[tuple[bytes, bytes]]:
    """Return what becomes of *pages*: blocks, and their seals."""
    blocks = [bytearray(page) for page in pages]
    seals = sealer.seal([memoryview(block) for block in blocks])
    size = sealer.seal_bytes
    assert len(seals) == len(pages) * size
    return [
        (bytes(block), seals[at * size : (at + 1) * size])
        for at, block in enumerate(blocks)
    ]


def test_pages_come_back(sealer: Sealer) -> None:
    blocks = sealed(sealer, *PAGES)

    opened = tuple(sealer.open(memoryview(block), seal) for block, seal in blocks)

    assert opened == PAGES


@pytest.mark.parametrize("bit", [0, 7, 8 * PAGE_SIZE // 2, 8 * PAGE_SIZE - 1])
def test_a_block_with_one_bit_flipped_is_refused(sealer: Sealer, bit: int) -> None:
    [(block, seal)] = sealed(sealer, PAGES[0])
    changed = bytearray(block)
    changed[bit // 8] ^= 1 << bit % 8

    with pytest.raises(CorruptBlock, match="wrong"):
        sealer.open(memoryview(changed), seal)


def test_a_block_of_zeros_is_refused(sealer: Sealer) -> None:
    [(_, seal)] = sealed(sealer, PAGES[0])

    with pytest.raises(CorruptBlock, match="wrong"):
        sealer.open(memoryview(bytes(PAGE_SIZE)), seal)


def test_the_seal_of_another_block_is_refused(sealer: Sealer) -> None:
    first, second = sealed(sealer, *PAGES[:2])

    with pytest.raises(CorruptBlock, match="wrong"):
        sealer.open(memoryview(first[0]), second[1])


@pytest.mark.parametrize("cipher", CIPHERS)
def test_an_earlier_block_is_not_taken_for_the_one_that_counts(cipher: str) -> None:
    sealer = make_sealer(cipher, Header())
    [(earlier, _)] = sealed(sealer, PAGES[0])
    [(_, seal)] = sealed(sealer, PAGES[0])

    with pytest.raises(CorruptBlock, match="tag"):
        sealer.open(memoryview(earlier), seal)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_what_is_written_says_nothing_of_the_page(cipher: str) -> None:
    header = Header()
    blocks = sealed(make_sealer(cipher, header), PAGES[2], PAGES[2])
    others = sealed(make_sealer(cipher, Header()), PAGES[2])

    assert len({block for block, _ in (*blocks, *others)}) == 3
    assert PAGES[2] not in [block for block, _ in blocks]


@pytest.mark.parametrize("cipher", CIPHERS)
def test_a_nonce_never_comes_twice_not_even_after_a_crash(cipher: str) -> None:
    header = Header()
    seals = [seal for _, seal in sealed(make_sealer(cipher, header), *PAGES)]
    # Whatever dies, the header is what the next worker begins with.
    seals += [seal for _, seal in sealed(make_sealer(cipher, header), *PAGES)]

    assert len({seal[:8] for seal in seals}) == 2 * len(PAGES)


class DyingCipher:
    """Dies when it encrypts, with the nonce already seen by somebody."""

    def __init__(self, nonces: list[bytes]) -> None:
        self.nonces = nonces

    def encrypt(self, nonce: bytes, _data: memoryview, _associated: None) -> bytes:
        self.nonces.append(nonce)
        raise SystemExit

    def decrypt(self, nonce: bytes, _data: bytes, _associated: None) -> bytes:
        raise NotImplementedError(nonce)


def test_a_nonce_is_taken_before_it_is_used() -> None:
    header = Header()
    nonces: list[bytes] = []
    for _ in range(3):
        sealer = Encryption(lambda _: DyingCipher(nonces), header)
        with pytest.raises(SystemExit):
            sealer.seal([memoryview(bytearray(PAGE_SIZE))])

    assert len(set(nonces)) == 3


@pytest.mark.parametrize("cipher", CIPHERS)
def test_the_key_outlives_the_worker_in_the_header(cipher: str) -> None:
    header = Header()
    [(block, seal)] = sealed(make_sealer(cipher, header), PAGES[0])

    assert make_sealer(cipher, header).open(memoryview(block), seal) == PAGES[0]


@pytest.mark.parametrize("cipher", CIPHERS)
def test_every_device_has_a_key_of_its_own(cipher: str) -> None:
    [(block, seal)] = sealed(make_sealer(cipher, Header()), PAGES[0])

    with pytest.raises(CorruptBlock, match="tag"):
        make_sealer(cipher, Header()).open(memoryview(block), seal)


def test_a_checksum_needs_no_key() -> None:
    header = Header()

    make_sealer(None, header)

    assert not any(header.keys)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_no_nonce_comes_again_after_a_reset(bare: Device, cipher: str) -> None:
    """The key is that of before, so that the count must go on."""
    seals = []
    for _ in range(2):
        pages = [memoryview(bytearray(PAGE_SIZE)) for _ in range(4)]
        sealer = make_sealer(cipher, bare.header)
        seals.append(sealer.seal(pages))
        bare.set_disksize(PAGE_SIZE)
        bare.reset()

    size = len(seals[0]) // 4
    nonces = {seal[at : at + 8] for seal in seals for at in range(0, 4 * size, size)}
    assert len(nonces) == 8
