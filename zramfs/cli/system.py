"""Running the system's own commands: losetup, mkswap, swapon, swapoff."""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from zramfs.errors import MountRefused
from zramfs.mount.loops import SYS_BLOCK


def command(*words: str | Path) -> str:
    """Run *words* and return what it prints; MountRefused with what it says."""
    name = str(words[0])
    if shutil.which(name) is None:
        raise MountRefused(f"{name} is missing: install the package util-linux")
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        env=os.environ | {"LC_ALL": "C"},
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip() or f"exit status {done.returncode}"
        raise MountRefused(said if said.startswith(name) else f"{name}: {said}")
    return done.stdout


def require_root(what: str) -> None:
    """Raise MountRefused unless this is root."""
    if os.geteuid() != 0:
        raise MountRefused(f"{what} needs root")


def attach(swapfile: Path) -> Path:
    """Attach a loop device to *swapfile* and return it.

    Direct I/O, so that the page cache does not hold the pages a second time, and
    sectors of a page, so that no request is smaller.
    """
    options = ("--find", "--show", "--direct-io=on", "--sector-size", "4096")
    return Path(command("losetup", *options, swapfile).strip())


def complete_where_asked(loop: Path, sys_block: Path = SYS_BLOCK) -> None:
    """Have requests of *loop* completed on the processor that made them, if possible.

    Else the daemon's processor completes them in ksoftirqd, which must first get its
    turn there: single pages then take a tenth longer (``blk-mq.c``,
    blk_mq_complete_request_remote, Linux 6.18).
    """
    with suppress(OSError):
        (sys_block / loop.name / "queue/rq_affinity").write_text("2")


def detach(loop: Path) -> None:
    """Detach a loop device."""
    command("losetup", "--detach", loop)
