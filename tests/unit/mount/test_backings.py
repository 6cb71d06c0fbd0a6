"""zramfs.mount.backings: a backing device outlives the worker that opened it."""

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.mount.overseer import Overseer
from zramfs.core.header import Header
from zramfs.errors import DeviceBusy, ShortTransfer
from zramfs.mount.backings import Backings
from zramfs.mount.channel import Word
from zramfs.mount.config import Config
from zramfs.mount.spill_io import Failure, Transfer, make_buffers
from zramfs.spill import Spill
from zramfs.units import PAGE_SIZE

MIB = 1 << 20

CONFIG = Config(
    mountpoint="/mnt/z",
    settings={},
    data_path="lane",
    foreground=False,
    log_file=None,
    backing_size=MIB,
)


@pytest.fixture
def overseer() -> Iterator[Overseer]:
    with closing(Overseer()) as overseer:
        yield overseer


@pytest.fixture
def backings(overseer: Overseer) -> Backings:
    return Backings(CONFIG, Header(), overseer.lifeline())


def test_the_supervisor_holds_what_is_opened(
    overseer: Overseer, backings: Backings, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "spill")
    (tmp_path / "spill").touch()

    spill = backings.open(str(link))

    message = overseer.channel.receive()
    assert message
    assert (spill.path, spill.nr_blocks) == (str(tmp_path / "spill"), 256)
    assert (message.word, message.text) == (Word.KEEP, f"spill {spill.path}")
    [held] = message.fds
    assert os.path.sameopenfile(held, spill.fd)
    os.close(held)
    spill.close()


def test_the_supervisor_lets_go_of_what_is_closed(
    overseer: Overseer, backings: Backings, tmp_path: Path
) -> None:
    spill = backings.open(str(tmp_path / "spill"))
    kept = overseer.channel.receive()
    assert kept

    spill.close()

    message = overseer.channel.receive()
    assert message
    assert (message.word, message.text) == (Word.DROP, f"spill {spill.path}")
    os.close(kept.fds[0])


def test_a_successor_goes_on_with_it_whatever_is_at_the_path(
    overseer: Overseer, backings: Backings, tmp_path: Path
) -> None:
    path = tmp_path / "spill"
    first = backings.open(str(path))
    kept = overseer.channel.receive()
    assert kept
    os.close(first.fd)  # its process has died
    path.unlink()
    path.mkdir()

    with backings.recovering({kept.text: kept.fds[0]}):
        again = backings.open(str(path))

    assert (again.fd, again.nr_blocks, again.path) == (kept.fds[0], 256, str(path))
    assert not backings.kept
    again.close()


def test_a_device_that_cannot_be_had_again_costs_its_pages_only(
    backings: Backings, tmp_path: Path, announced: list[str]
) -> None:
    announced.append("ERROR: .*/spill is lost, with the pages there: ")
    path = tmp_path / "spill"

    with backings.recovering({}):
        lost = backings.open(str(path))
    found = [_transferred(lost, writes=writes) for writes in (False, True)]
    lost.close()

    assert lost.path == str(path)
    assert not path.exists()
    assert isinstance(found[0], ShortTransfer)
    assert isinstance(found[1], OSError)
    assert found[1].errno == errno.EIO


def _transferred(spill: Spill, *, writes: bool) -> Failure:
    (buffer,) = make_buffers(1, PAGE_SIZE)
    return Transfer(
        spill,
        0,
        buffer.view,
        buffer.address,
        lambda _view, _failure: None,
        writes=writes,
    ).run()


def test_a_new_device_that_cannot_be_had_is_refused_after_a_recovery_too(
    backings: Backings, tmp_path: Path
) -> None:
    (tmp_path / "spill").mkdir()
    with backings.recovering({}):
        pass

    with pytest.raises(IsADirectoryError):
        backings.open(str(tmp_path / "spill"))


def test_nobody_else_gets_it_while_the_worker_is_replaced(
    overseer: Overseer, backings: Backings, tmp_path: Path
) -> None:
    first = backings.open(str(tmp_path / "spill"))
    kept = overseer.channel.receive()
    assert kept
    os.close(first.fd)

    with pytest.raises(DeviceBusy, match="another zramfs"):
        backings.open(str(tmp_path / "spill"))
    os.close(kept.fds[0])


@pytest.mark.parametrize(("cipher", "seal_bytes"), [(None, 8), ("aes-gcm", 24)])
def test_the_mount_says_how_blocks_are_sealed(
    overseer: Overseer, tmp_path: Path, cipher: str | None, seal_bytes: int
) -> None:
    config = replace(CONFIG, encrypt=cipher)
    backings = Backings(config, Header(), overseer.lifeline())

    spill = backings.open(str(tmp_path / "spill"))

    assert spill.seal_bytes == seal_bytes
    spill.close()
    while message := overseer.channel.receive():
        for fd in message.fds:
            os.close(fd)
        if message.word is Word.DROP:
            break
