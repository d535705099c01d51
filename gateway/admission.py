"""Who is let in: at most so many requests in flight per process, and so many of each client."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.clients import ANYBODY, Client
from gateway.errors import Overloaded, Sent, TooManyInFlight


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
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def admit(self, client: Client = ANYBODY) -> Iterator[None]:
        """
        Hold one place for *client* while the block runs.

        Raises:
            TooManyInFlight: when the client has its share of them.
            Overloaded: when there is none to be had.
        """
        self._take(client)
        try:
            yield
        finally:
            self._give_back(client)

    def _take(self, client: Client) -> None:
        places = client.places_among(self.max_in_flight)
        with self._lock:
            # The client's own doing comes first: only that it can change.
            if places < self.max_in_flight and self._taken[client.name] >= places:
                raise TooManyInFlight(
                    f"{places} of your requests are in flight in this gateway process already",
                    sent=Sent.NO,
                )
            if self._taken.total() >= self.max_in_flight:
                raise Overloaded(
                    f"{self.max_in_flight} requests are in flight in this gateway process already",
                    sent=Sent.NO,
                )
            self._taken[client.name] += 1

    def _give_back(self, client: Client) -> None:
        with self._lock:
            self._taken[client.name] -= 1
            if not self._taken[client.name]:
                del self._taken[client.name]  # what is summed up is no longer than the places
