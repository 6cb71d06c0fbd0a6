"""What a log may hold: nothing from WARNING up, unless a test announced it.

A daemon that survives its own traceback looks well from outside; its log does
not. Patterns are regular expressions, searched for in each line.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_TROUBLE: Final = re.compile(
    r"\b(WARNING|ERROR|CRITICAL)\b|Traceback \(most recent call last\)|\bException\b"
)

_CAP_SYS_RESOURCE: Final = 1 << 24  # linux/capability.h
_CAP_IPC_LOCK: Final = 1 << 14


def refusals() -> list[str]:
    """Return patterns of the warnings that this machine's rights make certain."""
    status = Path("/proc/self/status").read_text()
    effective = int(re.findall(r"^CapEff:\s*(\w+)$", status, re.MULTILINE)[0], 16)
    # What a fresh interpreter has not touched yet may have to come from a disk, where
    # the page cache is cold.
    patterns = ["the worker waited for a disk"]
    if not effective & _CAP_SYS_RESOURCE:
        patterns += ["PR_SET_IO_FLUSHER: refused", "oom_score_adj: refused"]
    if not effective & _CAP_IPC_LOCK:
        patterns += ["mlockall: refused"]
    return patterns


def unannounced(lines: Iterable[str], announced: Iterable[str]) -> list[str]:
    """Return the lines of trouble that match none of the *announced* patterns."""
    expected = [re.compile(pattern) for pattern in announced]
    return [
        line
        for line in lines
        if _TROUBLE.search(line)
        and not any(pattern.search(line) for pattern in expected)
    ]
