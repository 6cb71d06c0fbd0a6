"""Transcripts: what is done to a device, and what it answers.

A file holds one behaviour. A block is commands, a line ``---``, and what they
answer; blocks are apart by an empty line, and lines that begin with # are comments.

    ATTRIBUTE < TEXT           one write(2) of TEXT, C escapes and all: "ok" or errno
    ATTRIBUTE < "TEXT"         the same, for blanks at either end
    ATTRIBUTE < "TEXT" * N     N times the text, in one write
    cat ATTRIBUTE              what it reads as, escaped
    mm, io, bd                 columns of mm_stat, io_stat and bd_stat by name, without
                               those that depend on how the pool packs
    pool                       these: used, max, compacted
    fill PAGE COUNT KIND       COUNT writes of a page each; see tests/pages.py
    fillv PAGE COUNT KIND      one write of COUNT pages
    check PAGE COUNT KIND      reads and compares page by page
    pread OFFSET LENGTH        one read: its length and CRC
    pwrite OFFSET LENGTH KIND  one write of the beginning of such pages
    discard PAGE COUNT         discards these pages
    thin PAGE COUNT STEP       discards these pages but for every STEPth
    backing PAGES              makes a backing device, a file for a mount; {0} stands
                               for the path of the first, {1} of the second
    blocks NUMBER COUNT KIND   which page of KIND each of COUNT blocks has, of backing
                               device NUMBER; "-" for none
    spoil NUMBER BLOCK COUNT   makes these blocks of backing device NUMBER unreadable
    hold, release              opens the device, and closes it again
    state                      block_state: index and flags of each stored page,
                               runs of pages with the same flags together
    wait SECONDS               lets time go by; only the core has a clock to set

The answers are in the order of the commands, one line each. Every transcript
begins with a device that was just reset. Those in `zramfs` differ from the
kernel on purpose, and say why; all others are what Linux 7.3 answered.
"""
