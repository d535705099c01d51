"""Handlers for Ctrl-C and SIGTERM."""

import signal
from collections.abc import Callable


class StopSignals:
    """
    The first signal raises KeyboardInterrupt; later ones never interrupt the shutdown.

    A later Ctrl-C calls *kill*. A later SIGTERM is ignored, because make forwards one that may have
    arrived already.
    """

    def __init__(self, kill: Callable[[], None]) -> None:
        self._kill = kill
        self.stopping = False
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, number: int, _frame: object) -> None:
        if not self.stopping:
            self.stopping = True
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            self._kill()
