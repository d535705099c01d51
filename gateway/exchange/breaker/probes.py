"""Probes: the requests that an open breaker lets through, in turn by client."""

from math import inf
from typing import NamedTuple

from gateway.exchange.breaker.circuit import Circuit

#: Requests in flight that an open breaker lets through, of all clients together.
PROBES = 3
#: How long a probe is reserved for a rejected client, in seconds: longer than its Retry-After.
TURN_S = 5.0


class _Turn(NamedTuple):
    """A rejected client, which gets the next probe."""

    name: str
    probed_s: float
    until_s: float


_NOBODY = _Turn("", -inf, -inf)


class Probes:
    """
    The probes of a topic. Not safe to use from several threads.

    A client that had a probe does not get the next one while a client that has waited longer was
    rejected: otherwise a client with many requests would take every probe that becomes free.
    """

    def __init__(self) -> None:
        self._in_flight = 0
        self._turn = _NOBODY

    def take(self, client: Circuit, now_s: float) -> bool:
        """Take a probe for *client*; return False if it has to wait."""
        turn = self._turn
        is_turn = turn.until_s < now_s or client.name == turn.name
        if not is_turn and client.probed_s > turn.probed_s:
            return False
        if self._in_flight >= PROBES:
            if is_turn or client.probed_s < turn.probed_s:
                self._turn = _Turn(client.name, client.probed_s, now_s + TURN_S)
            return False
        if is_turn:
            self._turn = _NOBODY
        self._in_flight += 1
        client.probed_s = now_s
        return True

    def release(self) -> None:
        """Release a probe that was taken."""
        self._in_flight -= 1
