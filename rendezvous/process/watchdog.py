"""Ends a process whose main loop hangs, so that its platform restarts it."""

import logging
import os
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

#: EX_SOFTWARE of sysexits(3).
EXIT_CODE = 70
#: Number of checks within the limit.
CHECKS = 10


class Watchdog:
    """
    Ends the process unless reset() is called at least every *limit_s* seconds.

    A poll() that hangs inside a library cannot be interrupted; ending the process can. The time is
    counted in the watchdog's own checks, which stop while the whole process is stopped: a process
    that was suspended is not ended when it wakes up.

    Args:
        loop: the loop that calls reset(), for the last line of the log.
        limit_s: maximum time between two calls.
        end: called with the exit code.
    """

    def __init__(
        self, loop: str, limit_s: float = 30.0, end: Callable[[int], object] = os._exit
    ) -> None:
        self.loop = loop
        self.limit_s = limit_s
        self._end = end
        self._was_reset = False
        self._missed_checks = 0
        self._stopped = threading.Event()

    @property
    def silent_s(self) -> float:
        """For how many seconds the loop has not called reset(), in whole checks."""
        return self._missed_checks * self.limit_s / CHECKS

    def start(self) -> None:
        """Start watching, again if need be."""
        self._stopped.set()
        self._stopped = threading.Event()
        self._missed_checks = 0
        threading.Thread(
            target=self._watch, args=(self._stopped,), name="watchdog", daemon=True
        ).start()

    def reset(self) -> None:
        """Restart the time; to be called in each turn of the loop."""
        self._was_reset = True

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()
        self._missed_checks = 0

    def _watch(self, stopped: threading.Event) -> None:
        while not stopped.wait(self.limit_s / CHECKS):
            if self._hangs():
                logger.critical(
                    "%s has hung for %g s; ending this process, its platform should restart it",
                    self.loop,
                    self.limit_s,
                )
                self._end(EXIT_CODE)
                return

    def _hangs(self) -> bool:
        self._missed_checks = 0 if self._was_reset else self._missed_checks + 1
        self._was_reset = False
        return self._missed_checks >= CHECKS
