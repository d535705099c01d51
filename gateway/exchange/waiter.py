"""A request that waits in this process for its outcome."""

import time
from collections.abc import Callable

from gateway.exchange.latch import Latch
from rendezvous.contract import Reply


class Waiter:
    """
    One request that waits for one outcome: its reply, or the refusal of its publication.

    Attributes:
        correlation_id: the id of the request.
        kind: requests of one kind take similarly long; empty when unknown.
        holders: number of clients that wait for it in this process.
        since_s: when the wait began, by the monotonic clock.
        outcome: the outcome; None while it is pending.
        notified_within_s: how long wait() relies on a notification before it calls *call_poller*.
    """

    __slots__ = (
        "_latch",
        "call_poller",
        "correlation_id",
        "holders",
        "kind",
        "notified_within_s",
        "outcome",
        "since_s",
    )

    def __init__(self, correlation_id: str, kind: str = "") -> None:
        self.correlation_id = correlation_id
        self.kind = kind
        self.holders = 0
        self.since_s = time.monotonic()
        self.outcome: Reply | Exception | None = None
        self.notified_within_s = 0.0
        self.call_poller: Callable[[Waiter], None] | None = None
        self._latch = Latch()

    def wait(self, timeout_s: float) -> Reply | None:
        """
        Return the reply, or None when it is still pending after *timeout_s*.

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
        """Set the outcome and wake every client that waits for it; to be called once."""
        self.outcome = outcome
        self._latch.set()
