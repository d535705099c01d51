"""The circuits of a topic: the outcomes of recent requests, of each client and of all."""

from collections import deque
from math import inf

#: Length of the window, in seconds.
WINDOW_S = 10.0
#: Minimum share of finished requests without a reply before a breaker opens. The last reply must
#: also be older than a client waits.
NO_REPLY_SHARE = 0.5
#: Maximum number of clients that are remembered only because the breaker is open for them.
MAX_OPEN_CLIENTS = 1_000


class Circuit:
    """
    The requests of one client, or of all clients, to a topic.

    Attributes:
        name: of the client; empty for all clients, and for clients without a name.
        in_flight: number of requests in flight.
        finished: number of finished requests in the window.
        silent: how many of those had no reply.
        replied_s: time of the last reply; before the first one, when the requests began.
        probed_s: time of the last probe.
        is_open: whether only probes are let through.
    """

    __slots__ = ("finished", "in_flight", "is_open", "name", "probed_s", "replied_s", "silent")

    def __init__(self, name: str, now_s: float) -> None:
        self.name = name
        self.in_flight = 0
        self.finished = 0
        self.silent = 0
        self.replied_s = now_s
        self.probed_s = -inf
        self.is_open = False

    def count(self, replied: bool, number: int = 1) -> None:
        """Add *number* finished requests with or without a reply."""
        self.finished += number
        self.silent += 0 if replied else number

    def reset(self) -> None:
        """Close, and count from zero."""
        self.finished = self.silent = 0
        self.is_open = False

    def is_silent(self, now_s: float, min_finished: int, reply_timeout_s: float) -> bool:
        """Return whether the requests in the window say that no replies come."""
        return (
            self.finished >= min_finished
            and self.silent >= self.finished * NO_REPLY_SHARE
            and now_s - self.replied_s > reply_timeout_s
        )


class Circuits:
    """
    The circuits of a topic. Not safe to use from several threads.

    A client is remembered while it has requests in flight or in the window, or its circuit is open.

    Attributes:
        all: the circuit of all clients.
    """

    def __init__(self, now_s: float) -> None:
        self.all = Circuit("", now_s)
        self._by_name: dict[str, Circuit] = {}
        self._finished: deque[tuple[float, Circuit, bool]] = deque()  # when, of whom, with a reply

    @property
    def open_clients(self) -> int:
        """Number of clients for which alone the circuit is open."""
        return sum(client.is_open for client in self._by_name.values())

    def of(self, name: str, now_s: float) -> Circuit:
        """Return the circuit of the client *name*, which begin() remembers."""
        return self._by_name.get(name) or Circuit(name, now_s)

    def begin(self, client: Circuit) -> None:
        """Count a request in flight."""
        self._by_name[client.name] = client
        client.in_flight += 1

    def end(self, client: Circuit) -> None:
        """Count a request in flight less; call it last."""
        client.in_flight -= 1
        self._forget_if_idle(client)

    def record(self, client: Circuit, replied: bool, now_s: float) -> None:
        """Record the outcome of a request that is still in flight."""
        self._finished.append((now_s, client, replied))
        client.count(replied)
        self.all.count(replied)
        if replied:
            client.replied_s = self.all.replied_s = now_s
        while self._finished[0][0] < now_s - WINDOW_S:
            _, other, had_reply = self._finished.popleft()
            other.count(had_reply, -1)
            self.all.count(had_reply, -1)
            self._forget_if_idle(other)

    def witnesses(self) -> Circuit:
        """Return the requests of all clients but the one with most missing replies."""
        most = max(self._by_name.values(), key=lambda client: client.silent)
        others = Circuit("", self.all.replied_s)
        others.finished = self.all.finished - most.finished
        others.silent = self.all.silent - most.silent
        return others

    def open(self, circuit: Circuit) -> None:
        """Open *circuit*; forget the oldest open one if there are too many."""
        circuit.is_open = True
        idle = [c for c in self._by_name.values() if not (c.in_flight or c.finished)]
        if len(idle) > MAX_OPEN_CLIENTS:
            del self._by_name[idle[0].name]

    def close(self, client: Circuit) -> None:
        """Close the circuit of *client*, of which a reply has come, and that of all if open."""
        if self.all.is_open:
            self._finished.clear()
            for circuit in [self.all, *self._by_name.values()]:
                circuit.reset()
            for circuit in list(self._by_name.values()):
                self._forget_if_idle(circuit)
            return
        self._finished = deque(entry for entry in self._finished if entry[1] is not client)
        self.all.finished -= client.finished
        self.all.silent -= client.silent
        client.reset()

    def _forget_if_idle(self, client: Circuit) -> None:
        if not (client.in_flight or client.finished or client.is_open):
            self._by_name.pop(client.name, None)
