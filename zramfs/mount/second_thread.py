"""A second thread: what the library does for many pages, beside what this one does.

The core is called in one thread. What it asks to be done in another is a library's
call on memory that nobody else looks at, which lets other threads run meanwhile; on
two processors both are done in little more than the time of one. Handing over work
takes about 0.1 ms, mostly until the thread is awake.

The thread is started when there is work for the first time, after this process was
hardened: PR_SET_IO_FLUSHER passes on to threads that are started then.
"""

import logging
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

from zramfs.core.steps import Work

log = logging.getLogger(__name__)


class SecondThread:
    """One thread, and the work for it, which is done in the order it was begun."""

    __slots__ = ("_is_started", "_todo")

    def __init__(self) -> None:
        self._todo: SimpleQueue[tuple[Work, SimpleQueue[BaseException | None]]]
        self._todo = SimpleQueue()
        self._is_started = False

    def begin(self, work: Work) -> Callable[[], None]:
        """Begin *work*; return what waits for its end, and raises what it raised.

        Where no thread is to be had, it is done when it is waited for.
        """
        if not self._is_started and not self._start():
            return work.run
        ended: SimpleQueue[BaseException | None] = SimpleQueue()
        self._todo.put((work, ended))

        def wait() -> None:
            if error := ended.get():
                raise error

        return wait

    def _start(self) -> bool:
        # A daemon: it must not keep the process from ending.
        thread = threading.Thread(target=self._run, name="second", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            log.info("no second thread: %s", error)
            return False
        self._is_started = True
        return True

    def _run(self) -> None:
        while True:
            work, ended = self._todo.get()
            try:
                work.run()
            except BaseException as error:  # noqa: BLE001  # whoever waits has it
                ended.put(error)
            else:
                ended.put(None)
            # What it was done with is not to live until the next comes.
            del work, ended


def second_thread() -> SecondThread | None:
    """Return one, if there is a second processor for it."""
    return SecondThread() if len(os.sched_getaffinity(0)) > 1 else None
