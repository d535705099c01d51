"""A request that waits in this process for its outcome."""

import time
from collections.abc import Callable
from typing import Self

from gateway.exchange.latch import Latch
from rendezvous.contract import Reply


class Waiter:
    """
    A request that waits for its outcome: a reply, or a refused publication.

    As a context manager it unregisters one client from the mailbox at the end.

    Attributes:
        correlation_id: the id of the request.
        topic: its topic; empty when unknown.
        clients: number of clients of this process that wait for the outcome.
        since_s: when the wait began, by the monotonic clock.
        outcome: None while the request is pending.
        notified_within_s: how long wait() relies on a notification before it calls *call_poller*.
    """

    __slots__ = (
        "_latch",
        "_unregister",
        "call_poller",
        "clients",
        "correlation_id",
        "notified_within_s",
        "outcome",
        "since_s",
        "topic",
    )

    def __init__(
        self,
        correlation_id: str,
        topic: str = "",
        unregister: Callable[["Waiter"], None] = lambda waiter: None,
    ) -> None:
        self.correlation_id = correlation_id
        self.topic = topic
        self.clients = 0
        self.since_s = time.monotonic()
        self.outcome: Reply | Exception | None = None
        self.notified_within_s = 0.0
        self.call_poller: Callable[[Waiter], None] | None = None
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
        if self.call_poller is None:
            self._latch.wait(timeout_s)
        else:
            notified_s = min(self.notified_within_s, timeout_s)
            if not self._latch.wait(notified_s):
                self.call_poller(self)
                self._latch.wait(timeout_s - notified_s)
        outcome = self.outcome  # read once: it may still arrive
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def settle(self, outcome: Reply | Exception) -> None:
        """Set the outcome and wake every client that waits; call it once."""
        self.outcome = outcome
        self._latch.set()
