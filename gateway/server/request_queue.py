"""Requests that wait for a slot: bounded in number, bytes and time, and fair to clients."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many requests of a worker may wait for a slot, and how long."""

    max_requests: int = 0
    share: float = 0.25  # of the time that the client waits for its response


@dataclass(frozen=True, slots=True)
class Queued:
    """A request that waits for a slot."""

    channel: Any
    client: str  # the name of its client
    until_s: float  # when it is rejected (monotonic clock)
    size: int  # its bytes


class RequestQueue:
    """
    The waiting requests, one queue for each client; the caller locks it.

    Clients take turns. When it is full, a client with more requests in it than the newcomer's
    loses its latest one.

    Args:
        max_requests: maximum number of requests.
        max_bytes: maximum size of all together.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._by_client: dict[str, deque[Queued]] = {}
        self._requests = 0
        self._bytes = 0
        #: When the first of them is overdue, or earlier (monotonic clock).
        self.next_due_s = math.inf

    def __len__(self) -> int:
        return self._requests

    def add(self, newcomer: Queued) -> list[Queued]:
        """Add *newcomer*; return the requests for which there is no room, maybe itself."""
        own = len(self._by_client.get(newcomer.client, ()))
        evicted: list[Queued] = []
        while not self._has_room(newcomer):
            largest = max(self._by_client.values(), key=len, default=None)
            if largest is None or len(largest) <= own + 1:
                return [*evicted, newcomer]
            evicted.append(largest[-1])
            self._remove(largest[-1])
        self._by_client.setdefault(newcomer.client, deque()).append(newcomer)
        self._requests += 1
        self._bytes += newcomer.size
        self.next_due_s = min(self.next_due_s, newcomer.until_s)
        return evicted

    def pop(self) -> Queued | None:
        """Remove and return the request whose turn it is."""
        if not self._requests:
            return None
        client, queue = next(iter(self._by_client.items()))
        first = queue[0]
        self._remove(first)
        if queue:  # the other clients come first
            self._by_client[client] = self._by_client.pop(client)
        return first

    def pop_overdue(self, now_s: float) -> list[Queued]:
        """Remove and return the requests that have waited for too long."""
        if now_s < self.next_due_s:
            return []
        overdue = [queued for queued in self._all() if queued.until_s <= now_s]
        for queued in overdue:
            self._remove(queued)
        self.next_due_s = min((queued.until_s for queued in self._all()), default=math.inf)
        return overdue

    def _all(self) -> Iterator[Queued]:
        for queue in self._by_client.values():
            yield from queue

    def _has_room(self, newcomer: Queued) -> bool:
        fits = self._bytes + newcomer.size <= self._max_bytes
        return fits and self._requests < self._max_requests

    def _remove(self, queued: Queued) -> None:
        queue = self._by_client[queued.client]
        queue.remove(queued)
        if not queue:
            del self._by_client[queued.client]
        self._requests -= 1
        self._bytes -= queued.size
