"""A request that waits in this process for its outcome."""

import time
from collections.abc import Callable
from typing import Self

from gateway.exchange.waiting.latch import Latch
from rendezvous.contract import Reply
from rendezvous.correlation import is_stream_id
from rendezvous.process.traces import tracing


class Waiter:
    """
    A request that waits for its outcome: a reply, or a refused publication.

    As a context manager it unregisters one client from the mailbox at the end.

    Attributes:
        correlation_id: the id of the request.
        topic: its topic; empty when unknown.
        is_shared: whether others than its client may ask for the reply, so that Redis decides which
            one is the first.
        reply_key: the record key by which the reply comes straight; empty for none.
        clients: number of clients of this process that wait for the outcome.
        is_stream: whether the last of several values is the reply.
        latest: the latest of these values, where no store keeps it.
        way: how the reply comes: "redis", or "straight" from Kafka.
        since_s: when the wait began, by the monotonic clock.
        outcome: None while the request is pending.
    """

    __slots__ = (
        "_latch",
        "_unregister",
        "clients",
        "correlation_id",
        "is_shared",
        "is_stream",
        "latest",
        "outcome",
        "reply_key",
        "since_s",
        "topic",
        "way",
    )

    def __init__(
        self,
        correlation_id: str,
        topic: str = "",
        unregister: Callable[["Waiter"], None] = lambda waiter: None,
        *,
        is_shared: bool = True,
        reply_key: bytes = b"",
    ) -> None:
        self.correlation_id = correlation_id
        self.topic = topic
        self.is_shared = is_shared
        self.reply_key = reply_key
        self.is_stream = is_stream_id(correlation_id)
        self.latest: Reply | None = None
        self.clients = 0
        self.since_s = time.monotonic()
        self.way = "redis"
        self.outcome: Reply | Exception | None = None
        self._unregister = unregister
        self._latch = Latch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._unregister(self)

    def wait(self, timeout_s: float) -> Reply | None:
        """
        Return the reply, or None when the request is still pending after *timeout_s*.

        Raises:
            Exception: the outcome, when it is one.
        """
        self._latch.wait(timeout_s)
        outcome = self.outcome  # read once: it may still arrive
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            tracing.tracer.current().event("reply", {"rendezvous.reply.way": self.way})
        return outcome

    def settle(self, outcome: Reply | Exception) -> None:
        """Set the outcome and wake every client that waits; call it once."""
        self.outcome = outcome
        self._latch.set()
