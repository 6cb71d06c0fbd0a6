"""Load that finds out: fio writes pages at random, and verifies them soon after."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.integration import teardown
from tests.integration.commands import running
from tests.integration.mounts import MIB, Mount

SIZE: Final = 64 * MIB

_FIO: Final = (
    *("fio", "--name=verify", "--ioengine=libaio", "--direct=1", "--iodepth=16"),
    *("--rw=randrw", "--bs=4k", f"--size={SIZE}", "--thread", "--fallocate=none"),
    *("--allow_file_create=0", "--buffer_compress_percentage=50"),
    *("--verify=crc32c", "--verify_fatal=1", "--verify_backlog=256"),
    *("--verify_state_save=0", "--output-format=json"),
    *("--loops=1000", "--time_based", "--runtime=80"),
)


@contextmanager
def verifying(mount: Mount) -> Iterator[None]:
    """Run fio meanwhile; it must have found no error."""
    with running(*_FIO, f"--filename={mount.swapfile}") as fio:
        assert teardown.wait_until(lambda: mount.mm_stat().orig_data_size > MIB)
        yield
        assert fio.poll() is None, fio.communicate()
        fio.send_signal(signal.SIGINT)
        said, complaint = fio.communicate(timeout=30)
    job = json.loads(said[said.index("{") :])["jobs"][0]
    assert job["error"] == 0, complaint
    # Half of what is done is writing, the other half is followed by verifying.
    assert job["read"]["total_ios"] > 1.5 * job["write"]["total_ios"]
