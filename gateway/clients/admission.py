"""In-flight limits: slots for concurrent requests, per worker and per client."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from gateway.clients.client import ANONYMOUS, Client
from gateway.problems import Overloaded, Sent, TooManyInFlight

#: Key of the time that a request waited for a slot, in seconds, in its WSGI environment.
QUEUED_ENVIRON_KEY = "rendezvous.queued_s"
#: Key of whether the server holds a slot for a request, in its WSGI environment.
SLOT_ENVIRON_KEY = "rendezvous.slot"
#: WSGI key: whether the server left the body unread because it did not know the client.
BODY_UNREAD_ENVIRON_KEY = "rendezvous.body_unread"


@dataclass(frozen=True, slots=True)
class Queueing:
    """What a server that lets requests wait for slots did with one request."""

    holds_slot: bool = False  # from before the application is called until it has responded
    queued_s: float = 0.0  # how long the request waited

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> "Queueing":
        """Return what the WSGI environment says; the defaults for other servers."""
        get = environ.get
        return cls(bool(get(SLOT_ENVIRON_KEY)), float(get(QUEUED_ENVIRON_KEY, 0.0)))


NOT_QUEUED = Queueing()


class SlotWait(NamedTuple):
    """A request that may wait for a slot."""

    client: str  # the name of its client
    reply_timeout_s: float  # how long the client waits for the response


class SlotRules(Protocol):
    """Which requests take a slot; for a server that lets them wait for one."""

    admission: "Admission"

    def takes_slot(self, method: str, path: str) -> bool:
        """Return whether a request may take a slot; quick, for it is asked for each."""

    def slot_wait(self, method: str, path: str, headers: Mapping[str, str]) -> SlotWait | None:
        """
        Return how a request may wait for a slot; None if it is to be answered at once.

        Args:
            headers: by names such as ``AUTHORIZATION``.
        """


class Admission:
    """
    Rejects requests above the in-flight limits, before their bodies are read.

    A server takes the slot itself with reserve(), and lets a request wait until it can. A worker
    that drains still admits requests on its open connections.

    Args:
        max_in_flight: maximum number of concurrent requests in this process.
    """

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        #: Called when a slot is released that the server does not hold.
        self.on_release: Callable[[], None] = lambda: None
        self._in_flight = 0
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def in_flight(self) -> int:
        """Number of slots that are taken."""
        return self._in_flight

    def reserve(self) -> bool:
        """Take a slot for a request whose client is not known yet; return False if none is free."""
        with self._lock:
            if self._in_flight >= self.max_in_flight:
                return False
            self._in_flight += 1
            return True

    def release_reserved(self) -> None:
        """Release a slot that reserve() took."""
        with self._lock:
            self._in_flight -= 1

    def admit(self, client: Client = ANONYMOUS, queueing: Queueing = NOT_QUEUED) -> "Slot":
        """
        Return a context manager that holds one slot for *client*.

        Entering it raises:
            TooManyInFlight: when the client has taken its share of the slots.
            Overloaded: when no slot is free, and the server holds none for the request.
        """
        return Slot(self, client, queueing)

    def take(self, client: Client, queueing: Queueing) -> None:
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
            if not queueing.holds_slot:
                if self._in_flight >= self.max_in_flight:
                    raise self._overloaded(queueing.queued_s)
                self._in_flight += 1
            self._taken[client.name] += 1

    def release(self, client: Client, queueing: Queueing) -> None:
        """Release a slot that was taken for *client*."""
        with self._lock:
            self._taken[client.name] -= 1
            if not self._taken[client.name]:
                del self._taken[client.name]  # clients may come and go
            if queueing.holds_slot:
                return
            self._in_flight -= 1
        self.on_release()

    def _overloaded(self, queued_s: float) -> Overloaded:
        waited = f", and none of them ended within {queued_s:.2f} s" if queued_s >= 0.01 else ""
        return Overloaded(
            f"{self.max_in_flight} requests are in flight in this gateway process already{waited}; "
            "send again after Retry-After",
            sent=Sent.NO,
        )


class Slot:
    """One slot, held while its ``with`` block runs."""

    # A class: a generator with contextlib costs several times as much.
    __slots__ = ("_admission", "_client", "_queueing")

    def __init__(self, admission: Admission, client: Client, queueing: Queueing) -> None:
        self._admission = admission
        self._client = client
        self._queueing = queueing

    def __enter__(self) -> None:
        self._admission.take(self._client, self._queueing)

    def __exit__(self, *error: object) -> None:
        self._admission.release(self._client, self._queueing)
