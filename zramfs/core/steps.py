"""Long work in bounded steps: between two of them other requests are served."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from zramfs.errors import ZramError


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Work for another thread; it touches nothing but what it was made with."""

    run: Callable[[], None]


class Beside(Protocol):
    """Another thread, for what the core may have done while it goes on."""

    def begin(self, work: Work) -> Callable[[], None]:
        """Begin *work*; return what waits for its end, and raises what it raised."""


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """Pages on their way to adjacent blocks; it is their claim, by identity."""

    indexes: Sequence[int]
    """Whose pages these are, in the order of the blocks."""
    blocks: range
    is_charged: bool
    """Whether they count against writeback_limit."""
    wait: Callable[[], bool] | None = None
    """Waits until the pages are in the buffer, and says whether all have come; None if
    they are there."""


@runtime_checkable
class Writes(Protocol):
    """Pages to be written to the backing device before the next step.

    Every page of every run that is taken must be committed or failed, or its block
    is lost; as many runs as one likes may be in flight.
    """

    def take(self, buffer: memoryview) -> Run | None:
        """Fill *buffer* with pages for adjacent blocks; None when there are no more.

        Less than all of it if there are fewer, or fewer adjacent blocks. The buffer is
        not to be looked at before the run's *wait* has been called.
        """

    def reload(self, run: Run, buffer: memoryview) -> None:
        """Fill *buffer* anew after *wait* has said that not all pages have come.

        The run has those that could be had then, perhaps none.
        """

    def commit(self, run: Run, start: int, stop: int, seals: bytes) -> None:
        """Take pages [*start*, *stop*) of *run* as written, with the *seals* of each.

        Those that still are what was written give up their memory.
        """

    def fail(self, run: Run, start: int, stop: int, error: ZramError | OSError) -> None:
        """Keep pages [*start*, *stop*) of *run* in memory; the others go on."""


Steps = Iterator[Work | Writes | None]
"""A step may end by asking that `Writes` be done before the next one, or with some
`Work`: yielded once, that is begun, and the steps go on meanwhile; yielded again, it
has ended before the next step."""


def finish(steps: Steps | None) -> None:
    """Take all *steps* at once, and do in turn the work that they ask for."""
    begun = set()
    for work in steps or ():
        # invariant: only what can write to a backing device is asked to.
        assert not isinstance(work, Writes)
        if work and work not in begun:
            begun.add(work)
            work.run()
