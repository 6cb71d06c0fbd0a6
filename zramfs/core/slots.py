"""The slot table: one 64-bit word for each page, and its access time.

    63           22 21  20 19      13 12         0
    +--------------+------+----------+------------+
    |   payload    | prio |  flags   |    size    |
    +--------------+------+----------+------------+

*payload* is the index of the object in its size class of the pool, or the block
of a written-back page. *size* is the stored size in bytes: below PAGE_SIZE for a
compressed object, PAGE_SIZE for a raw (huge) one, 0 for a same-filled page.
*prio* says which of up to four algorithms wrote the object. A word of 0 is an
empty slot, which reads as zeros.

One aligned 8-byte store publishes a slot: whoever looks, also after a crash,
sees the old page or the new one. Hence the order everywhere: write the object,
then the word, then free the old object.

A same-filled page keeps its fill word beside the table, in an array that stays
sparse: only a fill word that is not 0 is ever written there (payload 1), so that
pages of zeros cost nothing. Replacing one fill word by another is again a single
8-byte store.

The words are plain ints in memory shared with the process that survives us.
`enum.Flag` arithmetic costs 0.45 us against 0.02 us for ints: a tenth of what
compressing the page costs.
"""

from typing import Final

SIZE_MASK: Final = (1 << 13) - 1

SAME: Final = 1 << 13  # s: every machine word of the page is the same
WB: Final = 1 << 14  # w: the page is on the backing device
PP_SLOT: Final = 1 << 15  # chosen by a post-processing scan, untouched since
HUGE: Final = 1 << 16  # h: stored raw, because it did not compress
IDLE: Final = 1 << 17  # i: marked by the user, not accessed since
INCOMPRESSIBLE: Final = 1 << 18  # n: no secondary algorithm could help
NO_WB: Final = 1 << 19  # read synchronously once: never written back

PRIORITY_SHIFT: Final = 20
PRIORITY_MASK: Final = 3 << PRIORITY_SHIFT
PAYLOAD_SHIFT: Final = 22
MAX_PAYLOAD: Final = (1 << (64 - PAYLOAD_SHIFT)) - 1

ACCESS_CLEARS: Final = IDLE | PP_SLOT  # what any read or write takes off

SLOT_BYTES: Final = 8
AC_TIME_BYTES: Final = 4
FILL_BYTES: Final = 8
