"""
Polls Redis for replies, with backoff: one MGET per poll, however many requests wait.

Replies that come straight from Kafka need no poll. Those that do not are found here: of responders
that send them to another partition, late ones, and all while REPLY_DELIVERY is "store".
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from gateway.exchange.waiting.mailbox import Mailbox
from gateway.exchange.waiting.waiter import Waiter
from rendezvous.contract import Reply
from rendezvous.errors import StoreUnavailable, WritesRefused
from rendezvous.process.watchdog import Watchdog
from rendezvous.redis_store.replies import ReplyStore, node_of

logger = logging.getLogger(__name__)

#: Shortest and longest poll interval, in seconds.
MIN_INTERVAL_S = 0.002
MAX_INTERVAL_S = 0.050
#: Poll interval as a share of the age of a request. A slow reply thus costs few polls.
INTERVAL_PER_AGE = 0.1
#: The same for requests whose replies come straight from Kafka: the poll is a fallback.
MIN_FALLBACK_S = 0.25
MAX_FALLBACK_S = 1.0
FALLBACK_PER_AGE = 0.5
#: Pause after a failed poll, in seconds.
FAILURE_PAUSE_S = 0.1
#: Pause after two polls in a row that failed for another process alone, in seconds: its shard of a
#: Redis Cluster may hang. Its waiters ask once more at their deadlines.
SHARD_PAUSE_S = 2.0
#: Failed polls in a row after which new requests are rejected. A single one may be a connection
#: that was reset, or a machine that was suspended for a moment.
MAX_FAILURES = 2
#: Longest sleep, in seconds: a waiter that needs no poll soon does not wake the poller.
IDLE_S = 0.25
#: Maximum time between two turns of the loop before the watchdog ends the process, in seconds. One
#: poll takes 0.5 s at most.
LIMIT_S = 10.0


class StoredReplies(Protocol):
    """
    The replies in Redis.

    Attributes:
        store_error: why Redis cannot be polled, as a text for clients; None when it can.
        write_error: why Redis takes no writes, as a text for clients.
    """

    store_error: str | None
    write_error: str | None

    def poll(self, correlation_id: str) -> Reply | None:
        """Return the reply if it has arrived; StoreUnavailable if Redis does not answer."""


class NoStoredReplies:
    """All replies come straight from Kafka, and none is stored (without REDIS_URL)."""

    store_error: str | None = None
    #: What a request is told whose reply could not come straight.
    write_error: str | None = (
        "this gateway does not read its replies yet, or not any more, and has no Redis; see /readyz"
    )

    def poll(self, correlation_id: str) -> Reply | None:
        """Return None."""
        return None


class Poller:
    """
    Fetches the replies of waiters from the store.

    Args:
        comes_straight: returns whether the reply of a waiter is expected straight from Kafka.
        on_found: called with each waiter whose reply was found here first.
        watchdog: ends this process when the poller hangs or has died.

    Attributes:
        store_error: why Redis cannot be polled, as a text for clients; None when it can.
        write_error: why Redis takes no writes, as a text for clients; check() sets it.
    """

    def __init__(
        self,
        store: ReplyStore,
        mailbox: Mailbox,
        watchdog: Watchdog | None = None,
        *,
        comes_straight: Callable[[Waiter], bool] = lambda waiter: False,
        on_found: Callable[[Waiter], None] = lambda waiter: None,
    ) -> None:
        self._store = store
        self._mailbox = mailbox
        self._watchdog = watchdog or Watchdog("the reply poller", LIMIT_S)
        self._comes_straight = comes_straight
        self._on_found = on_found
        self._wake = threading.Event()
        self._closing = False
        self._failures = 0  # of polls, in a row
        self._polled_s = time.monotonic()
        self._sleeps_until_s = 0.0
        #: Nodes of other processes that are not polled for, and until when by the monotonic clock.
        self._resting: dict[str, float] = {}
        #: Nodes of other processes for which the last poll failed.
        self._failing: set[str] = set()
        self._thread: threading.Thread | None = None
        self.store_error: str | None = None
        self.write_error: str | None = None

    def start(self) -> None:
        """Start polling; call it in the process that waits, after any fork."""
        self._closing = False
        self._wake.clear()
        self._mailbox.on_waiter = self._notice
        self._thread = threading.Thread(target=self._run, name="reply-poller", daemon=True)
        self._thread.start()
        self._watchdog.start()

    def close(self) -> None:
        """Stop polling."""
        self._watchdog.stop()
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def poll(self, correlation_id: str) -> Reply | None:
        """Return the reply if it has arrived; see ReplyStore.fetch_many()."""
        return self._store.fetch(correlation_id)

    def check(self) -> None:
        """
        Poll and write once without a waiter: detects a Redis failure before requests do.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        node = self._mailbox.node
        try:
            self._store.fetch_many([node])  # no reply has this id
            self._store.check_writes(node)
            self.write_error = None
        except WritesRefused as error:
            self.write_error = error.advice
            raise
        except StoreUnavailable as error:
            self._record_failure(error)
            self._wake.set()  # it polls until Redis answers again
            raise

    def _notice(self, waiter: Waiter) -> None:
        """Wake the poller if *waiter* is due before its sleep ends."""
        if not self._comes_straight(waiter) and self._due_s(waiter) < self._sleeps_until_s:
            self._wake.set()

    def _run(self) -> None:
        while not self._closing:
            self._watchdog.reset()
            try:
                self._sleep_and_poll()
            except Exception:
                # Without the poller every later request would time out.
                logger.exception("the reply poller failed; continuing")

    def _sleep_and_poll(self) -> None:
        # Before the waiters are read: a later waiter sees this, and wakes the poller.
        self._sleeps_until_s = time.monotonic() + IDLE_S
        due_s = min([self._next_s(), self._sleeps_until_s])
        self._sleeps_until_s = due_s
        if self._wake.wait(max(due_s - time.monotonic(), 0)):
            self._wake.clear()
        self._sleeps_until_s = 0.0
        if self._next_s() <= time.monotonic():
            self._poll([waiter.correlation_id for waiter in self._mailbox.waiters()])

    def _next_s(self) -> float:
        """Return when to poll next, by the monotonic clock; infinite without a waiter."""
        if self._failures:
            # Also without a waiter, to find out when Redis answers again.
            return self._polled_s + FAILURE_PAUSE_S
        return min(map(self._due_s, self._mailbox.waiters()), default=float("inf"))

    def _due_s(self, waiter: Waiter) -> float:
        shortest_s, share, longest_s = (
            (MIN_FALLBACK_S, FALLBACK_PER_AGE, MAX_FALLBACK_S)
            if self._comes_straight(waiter)
            else (MIN_INTERVAL_S, INTERVAL_PER_AGE, MAX_INTERVAL_S)
        )
        last_s = max(self._polled_s, waiter.since_s)
        return last_s + min(max((last_s - waiter.since_s) * share, shortest_s), longest_s)

    def _poll(self, waiting: list[str]) -> None:
        own = self._mailbox.node
        try:
            # No reply has the id *own*, which tells whether the shard of this process answers.
            awake = self._awake(waiting)
            found, failures = self._store.fetch_available([own, *awake])
        finally:
            self._polled_s = time.monotonic()
        if own in failures:
            self._record_failure(failures[own])
        else:
            self._record_success()
            self._let_rest(failures.keys() & self._failing)
            self._failing = self._failing - set(map(node_of, awake)) | failures.keys()
        self._settle(found)

    def _awake(self, waiting: list[str]) -> list[str]:
        """Return the ids of *waiting* whose nodes do not rest."""
        now_s = time.monotonic()
        self._resting = {node: end_s for node, end_s in self._resting.items() if end_s > now_s}
        if not self._resting:
            return waiting
        return [cid for cid in waiting if node_of(cid) not in self._resting]

    def _let_rest(self, nodes: Iterable[str]) -> None:
        # A poll waits for each shard that hangs, and so would all waiters.
        self._resting |= dict.fromkeys(nodes, self._polled_s + SHARD_PAUSE_S)

    def _settle(self, found: dict[str, Reply]) -> None:
        for correlation_id, reply in found.items():
            waiter = self._mailbox.waiter(correlation_id)
            if self._mailbox.settle(correlation_id, reply) and waiter is not None:
                self._on_found(waiter)

    def _record_success(self) -> None:
        if self.store_error is not None:
            logger.info("Redis answers again")
        self.store_error = None
        self._failures = 0

    def _record_failure(self, error: StoreUnavailable) -> None:
        self._failures += 1
        if self._failures < MAX_FAILURES:
            return
        if self.store_error is None:
            logger.error("%s; %d requests wait", error, len(self._mailbox.waiters()))
        self.store_error = error.advice
