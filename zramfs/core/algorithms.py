"""What the texts about algorithms mean: which to use, how, and on what again.

The grammars of `comp_algorithm_store`, `recomp_algorithm_store`,
`algorithm_params_store` and `recompress_store` in ``zram_drv.c`` of Linux 7.3.
"""

import os
from collections.abc import Mapping
from typing import Final

from zramfs.core.codecs import ALGORITHMS, HUGE_CLASS_SIZE, Params
from zramfs.core.device import MAX_ALGORITHMS, Change, Device
from zramfs.core.postprocess import Recompression
from zramfs.core.slots import HUGE, IDLE
from zramfs.core.steps import Steps
from zramfs.errors import InvalidValue, TextTooLong
from zramfs.units import kstrtoint, kstrtoull, next_args

_U32_MAX: Final = (1 << 32) - 1

_NAME_MAX: Final = 128
"""CRYPTO_MAX_ALG_NAME: bytes, with the final NUL."""

_MODES: Final = {"idle": IDLE, "huge": HUGE, "huge_idle": HUGE | IDLE}
"""Flags that a page must have, by the type asked for."""


def parse_name(text: str) -> str:
    """Return the algorithm that *text* names, with at most one newline behind it."""
    if len(os.fsencode(text)) >= _NAME_MAX:
        raise TextTooLong(f"an algorithm's name has no {len(text)} characters")
    name = text.removesuffix("\n")
    if name not in ALGORITHMS:
        raise InvalidValue(f"no algorithm {name!r}, only: {' '.join(ALGORITHMS)}")
    return name


def show_names(chosen: str | None) -> str:
    """Return the line that lists all algorithms, *chosen* in brackets."""
    names = (f"[{name}] " if name == chosen else f"{name} " for name in ALGORITHMS)
    return "".join(names) + "\n"


def show_secondaries(device: Device) -> str:
    """Return a line for each secondary algorithm."""
    return "".join(
        f"#{priority}: {show_names(name)}"
        for priority, name in enumerate(device.algorithms)
        if priority and name
    )


def _fields(text: str) -> Mapping[str, str]:
    """Return the last value of each key; InvalidValue for a key without one."""
    fields = {}
    for key, value in next_args(text):
        if not value:
            raise InvalidValue(f"{key} has no value")
        fields[key] = value
    return fields


def _optional_int(fields: Mapping[str, str], key: str) -> int | None:
    return kstrtoint(fields[key]) if key in fields else None


def parse_primary(text: str) -> Change:
    """Choose the primary algorithm."""
    name = parse_name(text)
    return lambda device: device.set_algorithm(0, name)


def parse_secondary(text: str) -> Change:
    """Choose a secondary algorithm: ``algo=NAME [priority=1..3]``."""
    fields = _fields(text)
    priority = _optional_int(fields, "priority")
    if "algo" not in fields:
        raise InvalidValue("which algo=NAME?")
    if priority is None:
        priority = 1
    _check_priority(priority, 1)
    name = parse_name(fields["algo"])
    return lambda device: device.set_algorithm(priority, name)


def _check_priority(priority: int, lowest: int) -> None:
    if not lowest <= priority < MAX_ALGORITHMS:
        limits = f"{lowest} to {MAX_ALGORITHMS - 1}"
        raise InvalidValue(f"no priority {priority}, only {limits}")


def _priority(
    device: Device, fields: Mapping[str, str], priority: int | None, lowest: int
) -> int:
    """Return the priority that ``algo`` and ``priority`` name together."""
    name = fields.get("algo")
    if priority is not None:
        _check_priority(priority, lowest)
        if name and device.algorithms[priority] != name:
            raise InvalidValue(f"priority {priority} is not {name}")
        return priority
    return device.find_algorithm(name, lowest) if name else lowest


def parse_params(text: str) -> Change:
    """Set all parameters of one algorithm; those not named are the defaults."""
    fields = _fields(text)
    priority = _optional_int(fields, "priority")
    level = _optional_int(fields, "level")
    winbits = _optional_int(fields, "deflate.winbits")
    path = fields.get("dict")

    def change(device: Device) -> None:
        target = _priority(device, fields, priority, 0)
        dictionary = device.read_dictionary(path) if path else None
        device.params[target] = Params(
            level=level, dictionary=dictionary, winbits=winbits
        )

    return change


def parse_recompress(text: str) -> Change:
    """Recompress: ``[type=T] [threshold=N] [max_pages=N] [algo=A] [priority=N]``."""
    fields = _fields(text)
    mode = 0
    if "type" in fields:
        if fields["type"] not in _MODES:
            raise InvalidValue(f"no type {fields['type']!r}, only: {' '.join(_MODES)}")
        mode = _MODES[fields["type"]]
    max_pages = kstrtoull(fields["max_pages"]) if "max_pages" in fields else None
    threshold = kstrtoull(fields.get("threshold", "0"), maximum=_U32_MAX)
    if threshold >= HUGE_CLASS_SIZE:
        raise InvalidValue(f"threshold {threshold}: no object is that large")
    priority = _optional_int(fields, "priority")

    def change(device: Device) -> Steps:
        target = _priority(device, fields, priority, 1)
        return device.recompress(
            Recompression(
                mode=mode,
                threshold=threshold,
                max_pages=max_pages,
                priority=target,
                is_last=not any(device.algorithms[target + 1 :]),
            )
        )

    return change
