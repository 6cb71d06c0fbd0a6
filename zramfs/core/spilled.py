"""Written-back pages: what must be read to have one again."""

from dataclasses import dataclass

from zramfs.core.codecs import DECOMPRESS_ERRORS, Codec, Page
from zramfs.errors import CorruptPage
from zramfs.units import PAGE_SIZE, BlockIndex, PageIndex


@dataclass(slots=True, eq=False)
class Spilled:
    """A page to be read from *block*, which is pinned until that is done."""

    index: PageIndex
    block: BlockIndex
    seal: bytes
    codec: Codec | None
    """What decompresses it; None if it lies there as it is."""
    size: int
    """Bytes of the object, if it is compressed."""

    def page(self, data: Page) -> bytes:
        """Return the page that is in *data*, what the block holds.

        CorruptPage if there is none.
        """
        if self.codec is None:
            return bytes(data)
        return decompressed(self.index, self.codec, memoryview(data)[: self.size])


def decompressed(index: PageIndex, codec: Codec, stored: Page) -> bytes:
    """Return the page that *codec* has made *stored* of; CorruptPage if it did not."""
    try:
        page = codec.decompress(stored)
    except DECOMPRESS_ERRORS as error:
        raise CorruptPage(f"page {index}: {codec.name}: {error}") from error
    if len(page) != PAGE_SIZE:
        raise CorruptPage(f"page {index}: {codec.name}: {len(page)} bytes")
    return page
