"""Mounts that are directories, and commands of the system that are scripts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from zramfs.core.attributes import ATTRIBUTES, Attribute
from zramfs.core.device import Device
from zramfs.mount.spill_stat import show_spill

PID = 4711


def show(mountpoint: Path, device: Device, pid: int = PID) -> None:
    """Write what a mount of *device* would show into the directory *mountpoint*."""
    rows: Iterable[Attribute] = ATTRIBUTES.values()
    for row in rows:
        if row.show:
            (mountpoint / row.name).write_text(row.show(device))
    (mountpoint / "zramfs").mkdir(exist_ok=True)
    (mountpoint / "zramfs" / "worker_pid").write_text(f"{pid}\n")
    (mountpoint / "zramfs" / "spill_stat").write_text(show_spill(device))


@dataclass(slots=True)
class Commands:
    """A PATH of nothing but scripts, each of which notes how it was called."""

    directory: Path
    notes: Path = field(init=False)

    def __post_init__(self) -> None:
        self.directory.mkdir()
        self.notes = self.directory.with_suffix(".notes")
        self.notes.touch()

    def install(self, name: str, script: str = "") -> None:
        path = self.directory / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.notes}\n{script}\n')
        path.chmod(0o755)

    def called(self) -> list[str]:
        return self.notes.read_text().splitlines()


@dataclass(slots=True)
class Notes:
    """Stand-ins for functions, that note in their order how they were called."""

    monkeypatch: pytest.MonkeyPatch
    calls: list[str] = field(default_factory=list)

    def replace(
        self,
        module: object,
        name: str,
        *answers: object,
        error: BaseException | None = None,
    ) -> None:
        """Let *name* in *module* give these answers, the last one again and again."""
        left = list(answers or (None,))

        def stand_in(*args: object, **kwargs: object) -> object:
            words = [*map(str, args), *(f"{key}={kwargs[key]}" for key in kwargs)]
            self.calls.append(" ".join([name, *words]))
            if error:
                raise error
            return left.pop(0) if len(left) > 1 else left[0]

        self.monkeypatch.setattr(module, name, stand_in)
