"""Who is let in: at most so many requests in flight per process, none while it drains."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.errors import Overloaded, Sent, ShuttingDown


class Admission:
    """
    Turns requests away before their bodies are read.

    gthread would queue them where nobody sees them; a thread that is kept free answers at once.

    Args:
        max_in_flight: how many requests may wait in this process at the same time.
        draining: says whether this process is finishing.
    """

    def __init__(self, max_in_flight: int, draining: Callable[[], bool]) -> None:
        self._max_in_flight = max_in_flight
        self._free = threading.BoundedSemaphore(max_in_flight)
        self._draining = draining

    @contextmanager
    def admit(self) -> Iterator[None]:
        """
        Hold one place while the block runs.

        Raises:
            ShuttingDown, Overloaded: when there is none to be had.
        """
        if self._draining():
            raise ShuttingDown("this gateway process is shutting down", sent=Sent.NO)
        if not self._free.acquire(blocking=False):
            raise Overloaded(
                f"{self._max_in_flight} requests are in flight in this gateway process already",
                sent=Sent.NO,
            )
        try:
            yield
        finally:
            self._free.release()
