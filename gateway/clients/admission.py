"""In-flight limits: slots for concurrent requests, per worker and per client."""

import threading
from collections import Counter

from gateway.clients.client import ANONYMOUS, Client
from gateway.problems import Overloaded, Sent, TooManyInFlight


class Admission:
    """
    Rejects requests above the in-flight limits, before their bodies are read.

    gthread would queue them without a response; a reserved thread rejects them at once. A worker
    that drains still admits requests on its open connections.

    Args:
        max_in_flight: maximum number of concurrent requests in this process.
    """

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def admit(self, client: Client = ANONYMOUS) -> "Slot":
        """
        Return a context manager that holds one slot for *client*.

        Entering it raises:
            TooManyInFlight: when the client has taken its share of the slots.
            Overloaded: when no slot is free.
        """
        return Slot(self, client)

    def take(self, client: Client) -> None:
        """Take a slot for *client*; raises as described in admit()."""
        slots = client.slots_of(self.max_in_flight)
        with self._lock:
            # The client's own limit comes first: it is the one that the client can change.
            if slots < self.max_in_flight and self._taken[client.name] >= slots:
                raise TooManyInFlight(
                    f"{slots} of your requests are in flight in this gateway process already; "
                    "send again when one of them is answered",
                    sent=Sent.NO,
                )
            if self._taken.total() >= self.max_in_flight:
                raise Overloaded(
                    f"{self.max_in_flight} requests are in flight in this gateway process "
                    "already; send again after Retry-After",
                    sent=Sent.NO,
                )
            self._taken[client.name] += 1

    def release(self, client: Client) -> None:
        """Release a slot that was taken for *client*."""
        with self._lock:
            self._taken[client.name] -= 1
            if not self._taken[client.name]:
                del self._taken[client.name]  # keeps total() short


class Slot:
    """One slot, held while its ``with`` block runs."""

    # A class: a generator with contextlib costs several times as much.
    __slots__ = ("_admission", "_client")

    def __init__(self, admission: Admission, client: Client) -> None:
        self._admission = admission
        self._client = client

    def __enter__(self) -> None:
        self._admission.take(self._client)

    def __exit__(self, *error: object) -> None:
        self._admission.release(self._client)
