"""zramfs.mount.heap: what malloc keeps."""

import subprocess
import sys

from zramfs.mount.heap import keep_heap

_FAULTS = """
import resource, sys
from zramfs.mount.heap import keep_heap
if sys.argv[1] == "kept":
    keep_heap()

def use() -> None:
    memory = bytearray(1 << 20)
    memory[::4096] = bytes(256)

use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    # What is made smaller makes malloc take the next one from mmap(2) again.
    memory = bytearray(1 << 20)
    del memory[1 << 18:]
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


class FakeLibc:
    def __init__(self) -> None:
        self.told: dict[int, int] = {}

    def mallopt(self, parameter: int, value: int) -> int:
        self.told[parameter] = value
        return 1


def test_malloc_is_told_to_keep_what_a_request_needs() -> None:
    libc = FakeLibc()

    keep_heap(libc)

    assert libc.told == {-3: 4 << 20, -1: 3 << 20}


def test_a_libc_without_it_is_left_alone() -> None:
    keep_heap(object())  # type: ignore[arg-type]  # musl has no mallopt


def _faults(how: str) -> int:
    command = (sys.executable, "-c", _FAULTS, how)
    return int(subprocess.check_output(command, text=True))


def test_memory_of_requests_is_not_given_back() -> None:
    assert _faults("kept") < 300 < _faults("not")
