"""Loop devices, attached the way zramfs wants it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.integration import teardown
from tests.integration.commands import run


@contextmanager
def attached(swapfile: Path) -> Iterator[Path]:
    """Attach a loop device to *swapfile*; swap off and detach it at the end."""
    with ExitStack() as stack:
        stack.callback(_detach_all, swapfile)
        device = run(
            "losetup",
            "--find",
            "--show",
            "--direct-io=on",
            "--sector-size=4096",
            swapfile,
        )
        yield Path(device.rstrip())


def _detach_all(swapfile: Path) -> None:
    for loop in teardown.loops_below(swapfile):
        teardown.swap_off(loop)
        assert teardown.detach(loop), loop
