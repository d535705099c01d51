"""Mailbox: the requests of this process that wait for their replies."""

import threading
from collections.abc import Callable

from gateway.exchange.waiting.waiter import Waiter
from rendezvous.contract import Reply
from rendezvous.correlation import new_node
from rendezvous.kafka_client.reply_records import id_in_key

#: Number of waiters below which records are sent at once: too few for a batch.
MIN_LINGER_WAITERS = 8
#: Linger of the producer for each waiter, and at most, in milliseconds. A produce request costs
#: several times what a record costs, so records are batched while many requests wait.
LINGER_MS_PER_WAITER = 0.06
MAX_LINGER_MS = 5.0


class Mailbox:
    """
    The waiters of this process. Safe to use from several threads.

    Attributes:
        node: the name of this process in the ids it issues.
        on_waiter: called with each new waiter whose reply may come through Redis soon.
    """

    def __init__(self) -> None:
        self.node = new_node()
        self.on_waiter: Callable[[Waiter], None] = lambda waiter: None
        self._waiters: dict[str, Waiter] = {}
        self._registration = threading.Lock()

    def start(self) -> None:
        """Take a name of its own; call it in the process that waits, after any fork."""
        self.node = new_node()
        self._waiters.clear()

    def close(self) -> None:
        """Do nothing: requests that still wait time out."""

    def waiting_for(
        self,
        correlation_id: str,
        topic: str = "",
        *,
        is_shared: bool = True,
        reply_key: bytes = b"",
    ) -> Waiter:
        """
        Register a client that waits for *correlation_id* while the ``with`` block runs.

        To be called before the request is published.

        Args:
            topic: the topic of the request; empty when unknown.
            is_shared: see Waiter.
            reply_key: the record key by which the reply comes straight.
        """
        with self._registration:
            waiter = self._waiters.get(correlation_id)
            is_new = waiter is None
            if waiter is None:
                waiter = self._waiters[correlation_id] = Waiter(
                    correlation_id,
                    topic,
                    self._unregister,
                    is_shared=is_shared,
                    reply_key=reply_key,
                )
            waiter.clients += 1
        if is_new:
            self.on_waiter(waiter)
        return waiter

    def waiter(self, correlation_id: str) -> Waiter | None:
        """Return the waiter for *correlation_id*, or None."""
        return self._waiters.get(correlation_id)

    def id_of_key(self, key: bytes) -> str:
        """Return the id of the request whose reply comes with the record key *key*."""
        found = (w.correlation_id for w in self.waiters() if w.reply_key == key)
        return next(found, id_in_key(key))

    def waiters(self) -> list[Waiter]:
        """Return all waiters, oldest first."""
        return list(self._waiters.values())

    def settle(self, correlation_id: str, outcome: Reply | Exception) -> bool:
        """
        Give the waiter of *correlation_id* its outcome; only the first one counts.

        Returns whether one was still waiting.
        """
        # Whichever thread takes it out of the dict is the first.
        waiter = self._waiters.pop(correlation_id, None)
        if waiter is None:
            return False
        waiter.settle(outcome)
        return True

    def linger_ms(self) -> float:
        """Return the current linger of the producer, in milliseconds."""
        waiting = len(self._waiters)
        if waiting < MIN_LINGER_WAITERS:
            return 0.0
        return min(waiting * LINGER_MS_PER_WAITER, MAX_LINGER_MS)

    def _unregister(self, waiter: Waiter) -> None:
        with self._registration:
            waiter.clients -= 1
            if not waiter.clients and self._waiters.get(waiter.correlation_id) is waiter:
                # Else it is settled already.
                self._waiters.pop(waiter.correlation_id, None)
