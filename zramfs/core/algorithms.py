"""What the texts about algorithms mean: which to use, how, and on what again.

The grammars of `comp_algorithm_store`, `recomp_algorithm_store`,
`algorithm_params_store` and `recompress_store` in ``zram_drv.c`` of Linux 7.3.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from zramfs.core.codecs import ALGORITHMS, DEFAULTS, HUGE_CLASS_SIZE, Params
from zramfs.core.config import MAX_ALGORITHMS
from zramfs.core.device import Change, Device
from zramfs.core.lifecycle import State
from zramfs.core.postprocess import Recompression
from zramfs.core.slots import HUGE, IDLE
from zramfs.core.steps import Steps, Work
from zramfs.errors import DeviceBusy, InvalidValue, TextTooLong
from zramfs.units import kstrtoint, kstrtoull, next_args

_U32_MAX: Final = (1 << 32) - 1

_NOT_SET: Final = -(1 << 31)
"""ZCOMP_PARAM_NOT_SET: whoever writes this number wants the default."""

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
        for priority, name in enumerate(device.config.algorithms)
        if priority and name
    )


def _fields(
    text: str, numbers: Mapping[str, Callable[[str], int]]
) -> tuple[Mapping[str, str], Mapping[str, int]]:
    """Return the last text and, for the keys of *numbers*, the last number of each key.

    The first word that is wrong decides the errno, also where a later one with the
    same key is right. InvalidValue for a key without a value.
    """
    texts: dict[str, str] = {}
    values: dict[str, int] = {}
    for key, value in next_args(text):
        if not value:
            raise InvalidValue(f"{key} has no value")
        if key in numbers:
            values[key] = numbers[key](value)
        else:
            texts[key] = value
    return texts, values


def parse_primary(text: str) -> Change:
    """Choose the primary algorithm."""
    name = parse_name(text)
    return lambda device: device.set_algorithm(0, name)


def parse_secondary(text: str) -> Change:
    """Choose a secondary algorithm: ``algo=NAME [priority=1..3]``."""
    fields, numbers = _fields(text, {"priority": kstrtoint})
    if "algo" not in fields:
        raise InvalidValue("which algo=NAME?")
    priority = numbers.get("priority", 1)
    _check_priority(priority, 1)
    name = parse_name(fields["algo"])
    return lambda device: device.set_algorithm(priority, name)


def _check_priority(priority: int, lowest: int) -> None:
    if not lowest <= priority < MAX_ALGORITHMS:
        limits = f"{lowest} to {MAX_ALGORITHMS - 1}"
        raise InvalidValue(f"no priority {priority}, only {limits}")


def _priority(
    device: Device, name: str | None, priority: int | None, lowest: int
) -> int:
    """Return the priority that ``algo`` and ``priority`` name together."""
    if priority is not None:
        _check_priority(priority, lowest)
        if name and device.config.algorithms[priority] != name:
            raise InvalidValue(f"priority {priority} is not {name}")
        return priority
    return device.config.find(name, lowest) if name else lowest


def parse_params(text: str) -> Change:
    """Set all parameters of one algorithm; those not named are the defaults.

    So are all of them when the dictionary cannot be read: the kernel, too, forgets
    the old ones first (comp_params_store).
    """
    keys = ("priority", "level", "deflate.winbits")
    fields, numbers = _fields(text, dict.fromkeys(keys, kstrtoint))
    given = {key: value for key, value in numbers.items() if value != _NOT_SET}
    path = fields.get("dict")
    params = Params(level=given.get("level"), winbits=given.get("deflate.winbits"))

    def change(device: Device) -> Steps | None:
        target = _priority(device, fields.get("algo"), numbers.get("priority"), 0)
        if path is None:
            device.set_params(target, params)
            return None
        device.set_params(target, DEFAULTS)
        return _read_params(device, target, params, device.files.resolve(path))

    return change


def _read_params(device: Device, target: int, params: Params, path: str) -> Steps:
    """Set *params* with the dictionary at *path*.

    It is read in another thread: the file may be slow, or one of this very mount.
    """
    found: list[bytes] = []
    work = Work(lambda: found.append(device.files.read_dictionary(path)))
    yield work
    yield work
    if device.state is not State.BARE:  # meanwhile
        raise DeviceBusy(f"the device is {device.state.value}")
    device.set_params(target, replace(params, dictionary=found[0]))


def _type_parser() -> Callable[[str], int]:
    """Return what makes a mode of a type; an unknown one does not undo one before."""
    mode = 0

    def parse(text: str) -> int:
        nonlocal mode
        mode = _MODES.get(text, mode)
        if not mode:
            raise InvalidValue(f"no type {text!r}, only: {' '.join(_MODES)}")
        return mode

    return parse


def parse_recompress(text: str) -> Change:
    """Recompress: ``[type=T] [threshold=N] [max_pages=N] [algo=A] [priority=N]``."""
    fields, numbers = _fields(
        text,
        {
            "type": _type_parser(),
            "threshold": partial(kstrtoull, maximum=_U32_MAX),
            "max_pages": kstrtoull,
            "priority": kstrtoint,
        },
    )
    threshold = numbers.get("threshold", 0)
    if threshold >= HUGE_CLASS_SIZE:
        raise InvalidValue(f"threshold {threshold}: no object is that large")

    def change(device: Device) -> Steps:
        target = _priority(device, fields.get("algo"), numbers.get("priority"), 1)
        return device.recompress(
            Recompression(
                mode=numbers.get("type", 0),
                threshold=threshold,
                max_pages=numbers.get("max_pages"),
                priority=target,
                is_last=not any(device.config.algorithms[target + 1 :]),
            )
        )

    return change
