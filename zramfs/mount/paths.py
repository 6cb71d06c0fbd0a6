"""Which path answers the swapfile's requests, and how many each has answered."""

from enum import Enum
from typing import Final

from zramfs.core.device import Device
from zramfs.core.header import Header, Words, words
from zramfs.core.slots import NO_WB
from zramfs.errors import InvalidValue


class RwPage(Enum):
    """Whether the synchronous path, the kernel's ``rw_page``, is offered.

    ALWAYS is what Linux 6.1 merged: a page that is there is answered at once.
    NO_WB is the RFC before it: the first such read also keeps the page from ever
    being written back. OFF is the state before both: every request is a task.
    """

    ALWAYS = "always"
    NO_WB = "no_wb"
    OFF = "off"


@words
class PathStat(Words):
    """Requests by the path that answered them, in a header; they only go up."""

    lane_reads: int
    """READs answered in place."""
    lane_writes: int
    """WRITEs answered in place."""
    declined_reads: int
    """READs that the lane passed on to bio."""
    declined_writes: int
    """WRITEs that the lane passed on to bio."""
    bio_reads: int
    """READs answered by a task."""
    bio_writes: int
    """WRITEs answered by a task."""
    discards: int
    """FALLOCATEs that freed pages."""
    spins: int
    """Times that the lane waited for a request without sleeping."""
    spins_paid: int
    """Times that a request came while it did."""
    declined_spilled: int
    """Of the READs and WRITEs passed on, those for written-back pages."""


class Paths:
    """The mode, and the counters, of one mount; they outlive it in its *header*.

    *mode* is what it begins in, if the header knows of none.
    """

    __slots__ = ("_words", "is_synchronous", "mark", "mode", "stat")

    is_synchronous: bool
    """Whether requests may be answered in place."""
    mark: int
    """The slot flags that a synchronous read sets."""

    def __init__(self, mode: RwPage, header: Header | None = None) -> None:
        header = header or Header()
        self.stat = PathStat.from_buffer(header.paths)
        self._words = header.words
        known = self._words.rw_page
        self.select(_MODES[known - 1] if known else mode)

    def select(self, mode: RwPage) -> None:
        """Answer requests in this *mode* from now on.

        What each request would look up is looked up here: reading a member of an
        enum costs as much as parsing the request.
        """
        self.mode = mode
        self._words.rw_page = _MODES.index(mode) + 1
        self.is_synchronous = mode is not RwPage.OFF
        self.mark = NO_WB if mode is RwPage.NO_WB else 0

    def show(self) -> str:
        """Return every mode, the one in use in brackets."""
        words = (
            f"[{mode.value}]" if mode is self.mode else mode.value for mode in RwPage
        )
        return " ".join(words) + "\n"

    def show_stat(self, device: Device) -> str:
        """Return one ``name value`` a line."""
        rows = self.stat.values()
        rows["no_wb_slots"] = device.nr_flagged(NO_WB)
        return "".join(f"{name} {value}\n" for name, value in rows.items())


_MODES: Final = tuple(RwPage)


def parse_rw_page(text: str) -> RwPage:
    """Return the mode that *text* names, with at most one newline behind it."""
    try:
        return RwPage(text.removesuffix("\n"))
    except ValueError:
        known = " ".join(mode.value for mode in RwPage)
        raise InvalidValue(f"not one of {known}: {text!r}") from None
