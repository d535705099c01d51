"""The threads of a worker that run the application."""

import logging
import sys
from typing import Any

from waitress.task import ThreadedTaskDispatcher

#: Threads without which a worker cannot serve: one that waits for a reply, one for probes.
MIN_THREADS = 2


class RequestThreads(ThreadedTaskDispatcher):  # type: ignore[misc]  # waitress ships no types
    """
    waitress's threads, all started now: under load the system may have none left.

    Args:
        size: number of threads.
        log: gets an error if fewer can be started.
    """

    def __init__(self, size: int, log: Any) -> None:
        super().__init__()
        # Requests wait here for microseconds; the in-flight limit rejects those above it.
        self.queue_logger = logging.getLogger("waitress.queue")
        self.queue_logger.setLevel(logging.ERROR)
        self._missing = 0
        self.set_thread_count(size)
        if self._missing:
            log.error(
                "threads=%d of THREADS=%d could be started; raise the process limit "
                "(ulimit -u, pids.max) or lower THREADS",
                len(self.threads),
                size,
            )
        if len(self.threads) < MIN_THREADS:
            sys.exit("this worker cannot start threads; it cannot serve")

    def start_new_thread(self, target: Any, thread_no: int) -> None:
        """Start a thread; count it as missing if the system has none."""
        try:
            super().start_new_thread(target, thread_no)
        except RuntimeError:
            self._missing += 1
            self.threads.discard(thread_no)
            self.active_count -= 1
