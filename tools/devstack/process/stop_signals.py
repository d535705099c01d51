"""What Ctrl-C and SIGTERM do to the starter."""

import signal
from collections.abc import Callable


class StopSignals:
    """
    Ctrl-C and SIGTERM: the first raises KeyboardInterrupt, later ones never interrupt the stopping.

    A Ctrl-C while we stop calls *kill* instead. A second SIGTERM means nothing: make passes one on
    that we may have had already.
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
