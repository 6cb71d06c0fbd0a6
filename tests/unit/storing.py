"""What tests of the store do all the time."""

from tests.pages import make_page
from zramfs.core.store import Store
from zramfs.units import PageIndex


def write(store: Store, kind: str, *indexes: int) -> None:
    """Store pages of *kind*, each with its index as its number."""
    for index in indexes:
        store.write(PageIndex(index), memoryview(make_page(kind, index)))


def discard(store: Store, first: int, nr_pages: int) -> None:
    for _ in store.discard(PageIndex(first), nr_pages):
        pass


def holds(store: Store, kind: str, *indexes: int) -> bool:
    return all(
        store.read(PageIndex(index)) == make_page(kind, index) for index in indexes
    )
