"""The command line of ``tools/bench``."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from benchmarks.rows import JOBS, RECOMPRESS, SWAP
from benchmarks.sides import PEERS, make_sides
from benchmarks.swap import Hog
from tests.integration.commands import ROOT

_MIB: Final = 1 << 20

_DOCS: Final = ROOT / "docs"

_GROUPS: Final = (*JOBS, SWAP, RECOMPRESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    rounds: int
    swap_rounds: int
    size: int
    """Bytes that are filled, read and written on each side."""
    seconds: float
    """How long each side is under load, in each row and round."""
    warm_bytes: int
    """Memory touched before anything else; first touches are slow in a VM."""
    hog: Hog
    recompressed: int
    """Bytes of pages that are recompressed."""


_FULL: Final = Plan(
    rounds=5,
    swap_rounds=3,
    size=512 * _MIB,
    seconds=1.0,
    warm_bytes=4096 * _MIB,
    hog=Hog(length=1024 * _MIB, limit=256 * _MIB, disksize=2560 * _MIB, touch_s=4.0),
    recompressed=256 * _MIB,
)

_QUICK: Final = Plan(
    rounds=1,
    swap_rounds=1,
    size=128 * _MIB,
    seconds=0.3,
    warm_bytes=1024 * _MIB,
    hog=Hog(length=256 * _MIB, limit=64 * _MIB, disksize=640 * _MIB, touch_s=1.0),
    recompressed=128 * _MIB,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for."""

    plan: Plan
    rows: Sequence[str]
    """Names of JOBS, SWAP, and RECOMPRESS."""
    sides: Sequence[str]
    rounds: int | None
    """Instead of those of the plan."""
    output: Path | None
    """Where to save; None saves nothing."""
    peers: Path
    check: bool
    is_complete: bool
    """Whether all rows of all sides are to be measured."""


def _chosen(kind: str, patterns: str, known: Iterable[str]) -> list[str]:
    """Return those *known* that one of the comma-separated *patterns* matches."""
    names = list(known)
    chosen = set()
    for pattern in patterns.split(","):
        matches = {name for name in names if fnmatchcase(name, pattern)}
        if not matches:
            raise ValueError(f"no {kind} {pattern!r}, only: {' '.join(names)}")
        chosen |= matches
    return [name for name in names if name in chosen]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/bench",
        description="Measures zramfs beside what else there is, the sides in turn.",
        epilog="Instead of all that: --profile shows where the time of a request goes, "
        "--spill measures writing back, --rw-page the modes of rw_page under it. "
        "It wants an idle machine, and says if it had none; with one CPU: "
        "taskset -c 0 tools/bench. Exit status: 0 measured; 1 failed, or with --check "
        "a bound was missed; 2 bad command line.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="less of everything, in under a minute"
    )
    parser.add_argument(
        "--rows",
        default="*",
        metavar="NAMES",
        help=f"rows or patterns, comma-separated: {' '.join(_GROUPS)}",
    )
    parser.add_argument(
        "--sides",
        default="*",
        metavar="NAMES",
        help=f"sides or patterns, comma-separated: {' '.join(make_sides(PEERS))}",
    )
    parser.add_argument(
        "--rounds", type=_positive, metavar="N", help="rounds of each row"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where to save bench.json and bench.svg (default: docs for a run that is "
        "complete, else nowhere)",
    )
    parser.add_argument(
        "--peers",
        type=Path,
        metavar="DIR",
        default=PEERS,
        help="where ramfile.c is (default: ../shared/peers)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit with 1 if a bound is missed, or could not be measured and was to be",
    )
    return parser


def parse(argv: Sequence[str]) -> Options:
    """Return what *argv* asks for; ends the program if it is wrong."""
    parser = _make_parser()
    args = parser.parse_args(argv)
    try:
        rows = _chosen("row", args.rows, _GROUPS)
        sides = _chosen("side", args.sides, make_sides(args.peers))
    except ValueError as error:
        parser.error(str(error))
    is_complete = args.rows == args.sides == "*"
    return Options(
        plan=_QUICK if args.quick else _FULL,
        rows=rows,
        sides=sides,
        rounds=args.rounds,
        output=args.output or (_DOCS if is_complete and not args.quick else None),
        peers=args.peers,
        check=args.check,
        is_complete=is_complete,
    )
