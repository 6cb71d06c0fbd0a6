"""Long work in bounded steps: between two of them other requests are served."""

from collections.abc import Callable, Iterator

Work = Callable[[], None]
"""Work for another thread: it touches nothing but what it was made with."""

Steps = Iterator[Work | None]
"""A step may end by asking that some *Work* be done before the next one."""
