"""Who is let in: at most so many requests in flight per process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import Overloaded, Sent


class Admission:
    """
    Turns requests away before their bodies are read.

    gthread would queue them where nobody sees them; a thread that is kept free answers at once.
    A process that finishes still lets in who comes over a connection that it has: there is time.

    Args:
        max_in_flight: how many requests may wait in this process at the same time.
    """

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self._free = threading.BoundedSemaphore(max_in_flight)

    @contextmanager
    def admit(self) -> Iterator[None]:
        """
        Hold one place while the block runs.

        Raises:
            Overloaded: when there is none to be had.
        """
        if not self._free.acquire(blocking=False):
            raise Overloaded(
                f"{self.max_in_flight} requests are in flight in this gateway process already",
                sent=Sent.NO,
            )
        try:
            yield
        finally:
            self._free.release()
