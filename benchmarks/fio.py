"""Loading a side with fio.

The data is 16-byte pieces of 4 random bytes and 12 zeros. lz4 makes it 2.4 times
smaller and takes 4.2 us for a page and 1.3 us back, zstd 3.6 times, 12 us and 2.5 us.
That is a little less than for pages of a heap or of system files that compress as
well (6 and 1.6 us, 16 and 5.7 us); fio's usual pages, random bytes and then zeros,
would be 1.3 and 0.4 us, 5.7 and 0.6 us, and measure nothing of that.

While it is measured fio writes the buffers it began with, one for each request in
flight, because making new data takes longer than compressing it; the fill before
that makes all pages differ. The seeds are fixed, so every side gets the same.
"""

import json
from pathlib import Path
from typing import Final, TypedDict

from benchmarks.commands import BenchError, run
from benchmarks.rows import Job

COMMON: Final = (
    "--name=bench",
    "--thread",
    "--ioengine=libaio",
    "--direct=1",
    "--allow_file_create=0",
    "--fallocate=none",
    "--invalidate=0",
    "--norandommap",
    "--random_generator=tausworthe64",
    "--buffer_compress_percentage=75",
    "--buffer_compress_chunk=16",
    "--output-format=json",
)
"""Options of every run."""


class _Direction(TypedDict):
    iops: float
    bw_bytes: float


class _JobOutput(TypedDict):
    error: int
    read: _Direction
    write: _Direction


class _Output(TypedDict):
    jobs: list[_JobOutput]


def _run(path: Path, timeout_s: float, *options: str) -> _JobOutput:
    text = run("fio", f"--filename={path}", *COMMON, *options, timeout_s=timeout_s)
    output: _Output = json.loads(text[text.index("{") :])
    (job,) = output["jobs"]
    if job["error"]:
        raise BenchError(f"fio on {path}: error {job['error']}")
    return job


def fill(path: Path, size: int) -> None:
    """Write every page of *path*."""
    _run(
        path,
        120,
        *("--rw=write", "--bs=1M", "--iodepth=4", f"--size={size}"),
        "--refill_buffers=1",
    )


def measure(path: Path, size: int, job: Job, seconds: float, seed: int) -> float:
    """Return what *job* reaches in *seconds*: requests, or bytes, per second."""
    output = _run(
        path,
        seconds + 30,
        *(f"--rw={job.rw}", f"--bs={job.block}", f"--iodepth={job.depth}"),
        *(f"--size={size}", "--refill_buffers=0", f"--randseed={seed}"),
        *("--time_based", f"--runtime={seconds * 1000:.0f}ms"),
        f"--ramp_time={seconds * 200:.0f}ms",
    )
    direction = output["read" if "read" in job.rw else "write"]
    return direction["iops"] if job.counts_requests else direction["bw_bytes"]
