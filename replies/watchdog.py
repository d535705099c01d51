"""Ends a process whose main loop no longer turns, so that its platform starts a new one."""

import logging
import os
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

#: EX_SOFTWARE of sysexits(3).
EXIT_CODE = 70


class Watchdog:
    """
    Expects a beat every *limit_s* seconds at least.

    A poll() that hangs inside the library cannot be interrupted; ending the process can.

    Args:
        what: the loop that beats, for the last line of the log.
        limit_s: how long it may be silent.
        end: what to do then, given the exit code.
    """

    def __init__(
        self, what: str, limit_s: float = 30.0, end: Callable[[int], object] = os._exit
    ) -> None:
        self._what = what
        self._limit_s = limit_s
        self._end = end
        self._last_s = time.monotonic()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to watch."""
        self.beat()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def beat(self) -> None:
        """Say that the loop has turned."""
        self._last_s = time.monotonic()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(self._limit_s / 10):
            silent_s = time.monotonic() - self._last_s
            if silent_s > self._limit_s:
                logger.critical(
                    "%s has not turned for %.0f s: ending this process, to be started anew",
                    self._what,
                    silent_s,
                )
                self._end(EXIT_CODE)
                return
