"""Ends a process whose main loop no longer turns, so that its platform starts a new one."""

import logging
import os
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

#: EX_SOFTWARE of sysexits(3).
EXIT_CODE = 70
#: So often it looks for a beat within its limit.
LOOKS = 10


class Watchdog:
    """
    Expects a beat every *limit_s* seconds at least.

    A poll() that hangs inside the library cannot be interrupted; ending the process can. The time
    is counted in looks of its own: while the whole process is stopped, nobody looks either, so
    that a process which wakes up is not ended for having slept.

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
        self._beaten = False
        self._silent_looks = 0
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to watch, anew if need be."""
        self._stopped.set()
        self._stopped = threading.Event()
        self._silent_looks = 0
        threading.Thread(
            target=self._watch, args=(self._stopped,), name="watchdog", daemon=True
        ).start()

    def beat(self) -> None:
        """Say that the loop has turned."""
        self._beaten = True

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def _watch(self, stopped: threading.Event) -> None:
        while not stopped.wait(self._limit_s / LOOKS):
            if self._is_silent():
                logger.critical(
                    "%s has not turned for %g s: ending this process, to be started anew",
                    self._what,
                    self._limit_s,
                )
                self._end(EXIT_CODE)
                return

    def _is_silent(self) -> bool:
        self._silent_looks = 0 if self._beaten else self._silent_looks + 1
        self._beaten = False
        return self._silent_looks >= LOOKS
