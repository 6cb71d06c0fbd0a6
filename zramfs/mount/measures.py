"""What keeps a swap device from hanging its machine: one line for each measure.

``zramfs/swap_safety`` and ``zramfs doctor`` show these lines, and the second reads
what the first has written. A measure either holds or is refused; if it is essential,
``zramfs swapon`` does not swap without it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure and what became of it."""

    name: str
    refusal: str | None = None
    """Why it does not hold, None if it does."""
    consequence: str = ""
    """What may happen without it, and what to do about it."""
    essential: bool = False
    """Whether swapping without it must be expected to hang."""
    fact: str = ""
    """What there is to know of it when it holds."""

    @property
    def is_missing(self) -> bool:
        """Whether it is essential and does not hold."""
        return self.essential and self.refusal is not None

    def __str__(self) -> str:
        if self.refusal is None:
            return f"{self.name}: ok" + (f" ({self.fact})" if self.fact else "")
        state = "refused, essential" if self.essential else "refused"
        return f"{self.name}: {state} ({self.refusal}): {self.consequence}"


_OK: Final = re.compile(r"(?P<name>[^:]+): ok(?: \((?P<fact>.*)\))?")

_REFUSED: Final = re.compile(
    r"(?P<name>[^:]+): refused(?P<essential>, essential)? "
    r"\((?P<refusal>.*?)\): (?P<consequence>.*)"
)


def parse_measure(line: str) -> Measure:
    """Return the measure that str() shows as *line*; ValueError if none does."""
    if match := _OK.fullmatch(line):
        return Measure(name=match["name"], fact=match["fact"] or "")
    if match := _REFUSED.fullmatch(line):
        return Measure(
            name=match["name"],
            refusal=match["refusal"],
            consequence=match["consequence"],
            essential=match["essential"] is not None,
        )
    raise ValueError(f"not a measure: {line!r}")


def show_measures(measures: Iterable[Measure]) -> str:
    """Return a line for each."""
    return "".join(f"{measure}\n" for measure in measures)
