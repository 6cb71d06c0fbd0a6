"""The statistics files, by column."""

from typing import NamedTuple, Self


class MmStat(NamedTuple):
    """``mm_stat``: exactly nine columns."""

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
    def parse(cls, text: str) -> Self:
        return cls._make(map(int, text.split()))


class IoStat(NamedTuple):
    """``io_stat``: exactly four columns."""

    failed_reads: int
    failed_writes: int
    invalid_io: int
    notify_free: int

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls._make(map(int, text.split()))
