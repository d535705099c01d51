"""Who may call, and what each of them may do."""

from dataclasses import dataclass

#: Where the access log finds the client's name, in the request's WSGI environment.
CLIENT_ENVIRON_KEY = "rendezvous.client"


@dataclass(frozen=True, slots=True)
class Rate:
    """
    How many requests a client may send.

    Args:
        requests: so many in each window.
        window_s: how long a window is; each begins where Unix time is a multiple of it.
    """

    requests: int
    window_s: int


@dataclass(frozen=True, slots=True)
class Client:
    """
    Somebody who calls.

    Args:
        name: tells it from the others, in logs and in the ids of its requests; empty for whoever
            calls a gateway that asks nobody for a key.
        routes: the paths of routes.toml that it may use; None for all of them.
        rate: how much it may send, to all replicas together; None for as much as it likes.
        in_flight_share: the share of a worker's places that it may take, above 0 and up to 1.
    """

    name: str
    routes: frozenset[str] | None = None
    rate: Rate | None = None
    in_flight_share: float = 1.0

    def may_use(self, path: str) -> bool:
        """Say whether the route *path* of routes.toml is open to it."""
        return self.routes is None or path in self.routes

    def slots_of(self, max_in_flight: int) -> int:
        """Return how many of *max_in_flight* places it may take: one at least."""
        return max(1, int(self.in_flight_share * max_in_flight))


ANONYMOUS = Client("")
