"""What the device counts, and how the statistics files print it.

The formats are the kernel's to the byte (``zram_drv.c`` and ``block/genhd.c`` of
Linux 7.3): tools unpack exactly so many columns.
"""

from dataclasses import dataclass
from typing import Protocol, Self

from zramfs.core.header import Words, words
from zramfs.units import PAGE_SHIFT, SECTOR_SHIFT


@words
class Counters(Words):
    """Events since the device was initialised, in a header; they only go up."""

    failed_reads: int
    """Requests that failed in reading."""
    failed_writes: int
    """Requests that failed in storing."""
    notify_free: int
    """Pages discarded, stored or not."""
    miss_free: int
    """Swap slots whose freeing was missed; a FUSE file is never told of one."""
    huge_pages_since: int
    """Pages stored raw."""
    pages_compacted: int
    """Pool pages that compaction gave back."""
    reads: int
    """Read requests."""
    read_sectors: int
    """Sectors of 512 bytes read."""
    writes: int
    """Write requests."""
    write_sectors: int
    """Sectors of 512 bytes written."""
    bd_reads: int
    """Pages asked for from the backing device."""
    bd_writes: int
    """Pages that were written to it, also if their slot had changed by then."""
    bd_read_errors: int
    """Pages that it did not give back, with an error."""
    bd_short_reads: int
    """Pages that it did not give back, because it has become too short."""
    bd_corrupt_blocks: int
    """Pages that it gave back changed."""
    bd_write_errors: int
    """Pages that it did not take."""

    def count_read(self, length: int) -> None:
        """Count a request that has read *length* bytes, or failed to."""
        self.reads += 1
        self.read_sectors += length >> SECTOR_SHIFT

    def count_write(self, length: int) -> None:
        """Count a request that has written *length* bytes, or failed to."""
        self.writes += 1
        self.write_sectors += length >> SECTOR_SHIFT


class Held(Protocol):
    """What a store says of the pages in it."""

    @property
    def pool_pages(self) -> int:
        """Pages that the pool holds."""

    @property
    def pool_pages_max(self) -> int:
        """The most that it held."""

    pages_stored: int
    compr_data_size: int
    same_pages: int
    huge_pages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MmStat:
    """Memory use; sizes in bytes, *same_pages* and what follows in pages."""

    orig_data_size: int
    compr_data_size: int
    mem_used_total: int
    mem_limit: int
    mem_used_max: int
    same_pages: int
    pages_compacted: int
    huge_pages: int
    huge_pages_since: int

    @classmethod
    def of(cls, counters: Counters, mem_limit: int, held: Held | None) -> Self:
        """Return what *counters* say, and a store if there is one."""
        return cls(
            orig_data_size=held.pages_stored << PAGE_SHIFT if held else 0,
            compr_data_size=held.compr_data_size if held else 0,
            mem_used_total=held.pool_pages << PAGE_SHIFT if held else 0,
            mem_limit=mem_limit,
            mem_used_max=held.pool_pages_max << PAGE_SHIFT if held else 0,
            same_pages=held.same_pages if held else 0,
            pages_compacted=counters.pages_compacted,
            huge_pages=held.huge_pages if held else 0,
            huge_pages_since=counters.huge_pages_since,
        )

    def __str__(self) -> str:
        return (
            f"{self.orig_data_size:8} {self.compr_data_size:8} "
            f"{self.mem_used_total:8} {self.mem_limit:8} {self.mem_used_max:8} "
            f"{self.same_pages:8} {self.pages_compacted:8} {self.huge_pages:8} "
            f"{self.huge_pages_since:8}\n"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IoStat:
    """Requests that failed, and pages freed by request."""

    failed_reads: int
    failed_writes: int
    invalid_io: int = 0
    """Nothing is counted here since Linux 6.4."""
    notify_free: int

    @classmethod
    def of(cls, counters: Counters) -> Self:
        """Return what *counters* say."""
        return cls(
            failed_reads=counters.failed_reads,
            failed_writes=counters.failed_writes,
            notify_free=counters.notify_free,
        )

    def __str__(self) -> str:
        # The third column is a literal in the kernel, and unpadded.
        return (
            f"{self.failed_reads:8} {self.failed_writes:8} {self.invalid_io} "
            f"{self.notify_free:8}\n"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BdStat:
    """Use of the backing device, in pages."""

    bd_count: int
    bd_reads: int
    bd_writes: int

    @classmethod
    def of(cls, counters: Counters, nr_used: int) -> Self:
        """Return what *counters* say, with *nr_used* blocks in use."""
        return cls(
            bd_count=nr_used,
            bd_reads=counters.bd_reads,
            bd_writes=counters.bd_writes,
        )

    def __str__(self) -> str:
        return f"{self.bd_count:8} {self.bd_reads:8} {self.bd_writes:8}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStat:
    """The block layer's ``stat`` file of a zram device.

    Requests and sectors of 512 bytes, exactly. Merges, times, discards and flushes
    are 0: a request is answered within the jiffy it came in, and the kernel's zram
    does not count the others either.
    """

    reads: int
    read_sectors: int
    writes: int
    write_sectors: int

    @classmethod
    def of(cls, counters: Counters) -> Self:
        """Return what *counters* say."""
        return cls(
            reads=counters.reads,
            read_sectors=counters.read_sectors,
            writes=counters.writes,
            write_sectors=counters.write_sectors,
        )

    def __str__(self) -> str:
        columns = [0] * 17
        columns[0], columns[2] = self.reads, self.read_sectors
        columns[4], columns[6] = self.writes, self.write_sectors
        return " ".join(f"{column:8}" for column in columns) + "\n"
