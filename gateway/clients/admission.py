"""Who is let in: at most so many requests in flight per process, and so many of each client."""

import threading
from collections import Counter
from types import TracebackType

from gateway.clients.client import ANONYMOUS, Client
from gateway.problems import Overloaded, Sent, TooManyInFlight


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

    def admit(self, client: Client = ANONYMOUS) -> "Slot":
        """
        Return what holds one place for *client* while its ``with`` block runs.

        Entering it raises:
            TooManyInFlight: when the client has its share of them.
            Overloaded: when there is none to be had.
        """
        return Slot(self, client)

    def take(self, client: Client) -> None:
        """Take a place for *client*; raises as admit() tells."""
        places = client.slots_of(self.max_in_flight)
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

    def release(self, client: Client) -> None:
        """Give back a place that was taken for *client*."""
        with self._lock:
            self._taken[client.name] -= 1
            if not self._taken[client.name]:
                del self._taken[client.name]  # what is summed up is no longer than the places


class Slot:
    """One place, held from the start to the end of the ``with`` block."""

    # By hand: what contextlib makes of a generator costs several times as much.
    __slots__ = ("_admission", "_client")

    def __init__(self, admission: Admission, client: Client) -> None:
        self._admission = admission
        self._client = client

    def __enter__(self) -> None:
        self._admission.take(self._client)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._admission.release(self._client)
