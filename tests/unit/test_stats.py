"""zramfs.core.stats: the kernel's formats, to the byte."""

from dataclasses import FrozenInstanceError

import pytest

from zramfs.core.stats import BlockStat, Counters, IoStat, MmStat

MM_STAT = MmStat(
    orig_data_size=1638400,
    compr_data_size=825700,
    mem_used_total=839680,
    mem_limit=0,
    mem_used_max=1249280,
    same_pages=100,
    pages_compacted=0,
    huge_pages=200,
    huge_pages_since=300,
)


def test_mm_stat_prints_nine_columns_of_eight() -> None:
    expected = (
        " 1638400   825700   839680        0  1249280"
        "      100        0      200      300\n"
    )

    assert str(MM_STAT) == expected
    assert len(expected) == 81


def test_a_wide_number_pushes_the_columns_behind_it_along() -> None:
    wide = MmStat(
        orig_data_size=1638400,
        compr_data_size=825700,
        mem_used_total=839680,
        mem_limit=1234567892992,
        mem_used_max=1249280,
        same_pages=100,
        pages_compacted=0,
        huge_pages=200,
        huge_pages_since=300,
    )

    assert str(wide) == (
        " 1638400   825700   839680 1234567892992  1249280"
        "      100        0      200      300\n"
    )


def test_io_stat_prints_its_third_column_unpadded() -> None:
    stat = IoStat(failed_reads=1, failed_writes=23, notify_free=456)

    assert str(stat) == "       1       23 0      456\n"
    assert len(str(stat)) == 29


def test_block_stat_prints_the_seventeen_columns_of_the_block_layer() -> None:
    stat = BlockStat(reads=1, read_sectors=8, writes=2, write_sectors=1234567890)
    columns = str(stat).split()

    assert columns == ["1", "0", "8", "0", "2", "0", "1234567890", *["0"] * 10]
    assert str(stat).startswith("       1        0        8        0        2 ")
    assert str(stat).endswith("        0\n")


def test_counters_begin_at_0() -> None:
    assert set(Counters().values().values()) == {0}


def test_a_statistic_is_a_snapshot_and_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError, match="huge_pages"):
        MM_STAT.huge_pages = 1  # type: ignore[misc]  # that is the point
