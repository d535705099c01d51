"""
Mailbox: the waiters of this process, and the poller that fetches their replies.

Redis gets one MGET per poll, however many requests wait, and none while no request waits.
"""

import logging
import math
import threading
import time
from collections.abc import Callable

from gateway.exchange.poll_schedule import PollSchedule
from gateway.exchange.waiter import Waiter
from gateway.exchange.wakeup import Notifications, PollerWakeup, WakeReason
from rendezvous.contract import Reply
from rendezvous.correlation import new_node
from rendezvous.errors import StoreUnavailable, WritesRefused
from rendezvous.process.watchdog import Watchdog
from rendezvous.redis_store.replies import ReplyStore

logger = logging.getLogger(__name__)

#: Shortest pause that a new waiter can interrupt, in seconds; shorter ones are not worth it.
SHORT_PAUSE_S = 0.005
#: Pause after a failed poll, in seconds.
FAILURE_PAUSE_S = 0.1
#: Failed polls in a row after which new requests are rejected. A single one may be a connection
#: that was reset, or a machine that was suspended for a moment.
MAX_FAILURES = 2
#: Longest sleep of an idle poller, in seconds; the watchdog expects it to wake up.
IDLE_S = 1.0
#: Maximum time between two turns of the poller's loop before the watchdog ends the process, in
#: seconds. One poll takes 0.5 s at most.
POLLER_LIMIT_S = 10.0


class Mailbox:
    """
    The waiters of this process, and their poller.

    Args:
        store: where the replies arrive.
        watchdog: ends this process when the poller hangs or has died.
        subscribe: subscribes to the notifications for a node, or raises StoreUnavailable; None for
            no notifications.
    """

    def __init__(
        self,
        store: ReplyStore,
        watchdog: Watchdog | None = None,
        *,
        subscribe: Callable[[str], Notifications] | None = None,
    ) -> None:
        self._store = store
        self._subscribe = subscribe
        self._watchdog = watchdog or Watchdog("the reply poller", POLLER_LIMIT_S)
        self._waiters: dict[str, Waiter] = {}
        self._registration = threading.Lock()
        self._wakeup: PollerWakeup | None = None
        self._closing = False
        self._failures = 0  # of polls, in a row
        # When the sleep of the poller ends: inf while it is idle, -inf while it is awake.
        self._sleeps_until_s = -math.inf
        self._schedule = PollSchedule()
        self._notified_during_poll = False
        self._thread: threading.Thread | None = None
        #: The name of this process in the ids it issues.
        self.node = new_node()
        #: Why Redis cannot be polled, as a text for clients; None when it can.
        self.store_error: str | None = None
        #: Why Redis takes no writes, hence no replies, as a text for clients; check() sets it.
        self.write_error: str | None = None

    def start(self) -> None:
        """Start the poller; call it in the process that waits, after any fork."""
        self.node = new_node()
        self._waiters.clear()
        self._closing = False
        subscribe = self._subscribe
        self._wakeup = PollerWakeup(None if subscribe is None else (lambda: subscribe(self.node)))
        self._thread = threading.Thread(
            target=self._run, args=(self._wakeup,), name="reply-poller", daemon=True
        )
        self._thread.start()
        self._watchdog.start()

    def close(self) -> None:
        """Stop the poller; requests that still wait time out."""
        self._watchdog.stop()
        self._closing = True
        self._wake_poller()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def waiting_for(self, correlation_id: str, topic: str = "") -> Waiter:
        """
        Register a client that waits for *correlation_id* while the ``with`` block runs.

        To be called before the request is published.

        Args:
            topic: the topic of the request, from whose latency the polls are scheduled; empty when
                unknown.
        """
        with self._registration:
            waiter = self._waiters.get(correlation_id)
            if waiter is None:
                waiter = self._waiters[correlation_id] = Waiter(
                    correlation_id, topic, self._unregister
                )
            waiter.clients += 1
        waiter.notified_within_s = self._schedule.notified_within_s(waiter, len(self._waiters))
        if waiter.notified_within_s:
            # Until then the poller sleeps, and leaves the processor to the publication.
            waiter.call_poller = self._schedule_poll
        else:
            self._schedule_poll(waiter)
        return waiter

    def settle(self, correlation_id: str, outcome: Reply | Exception) -> None:
        """Give the waiter of *correlation_id* its outcome; only the first one counts."""
        # Whichever thread takes it out of the dict is the first.
        waiter = self._waiters.pop(correlation_id, None)
        if waiter is not None:
            waiter.settle(outcome)

    def linger_ms(self) -> float:
        """Return the current linger of the producer, in milliseconds."""
        return self._schedule.linger_ms(len(self._waiters))

    def poll(self, correlation_id: str) -> Reply | None:
        """Return the reply if it has arrived; see ReplyStore.fetch_many()."""
        return self._store.fetch(correlation_id)

    def check(self) -> None:
        """
        Poll and write once without a waiter: detects a Redis failure before requests do.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        try:
            self._store.fetch_many([self.node])  # no reply has this id
            self._store.check_writes(self.node)
            self.write_error = None
        except WritesRefused as error:
            self.write_error = error.advice
            raise
        except StoreUnavailable as error:
            self._record_failure(error)
            self._wake_poller()  # it polls until Redis answers again
            raise

    def _unregister(self, waiter: Waiter) -> None:
        with self._registration:
            waiter.clients -= 1
            if not waiter.clients and self._waiters.get(waiter.correlation_id) is waiter:
                # Else the poller has removed it already.
                self._waiters.pop(waiter.correlation_id, None)

    def _schedule_poll(self, waiter: Waiter) -> None:
        """Wake the poller if *waiter* is due before its sleep ends."""
        if self._sleeps_until_s > self._schedule.due_s(waiter):
            self._wake_poller()

    def _wake_poller(self) -> None:
        if self._wakeup is not None:
            self._wakeup.wake()

    def _record_failure(self, error: StoreUnavailable) -> None:
        self._failures += 1
        if self._failures < MAX_FAILURES:
            return
        if self.store_error is None:
            logger.error("%s; %d requests wait", error, len(self._waiters))
        self.store_error = error.advice

    def _run(self, wakeup: PollerWakeup) -> None:
        while not self._closing:
            self._watchdog.reset()
            try:
                self._sleep_and_poll(wakeup)
            except Exception:
                # Without the poller every later request would time out.
                logger.exception(
                    "the reply poller failed; continuing with %d requests waiting",
                    len(self._waiters),
                )
        wakeup.close()

    def _sleep_and_poll(self, wakeup: PollerWakeup) -> None:
        if not self._failures:
            wakeup.subscribe()
        if not wakeup.is_subscribed:
            self._schedule.is_notified = False
        reason = self._sleep(wakeup)
        if reason is WakeReason.NEW_WAITER:
            return
        waiting, notified = list(self._waiters), reason is WakeReason.NOTIFICATION
        # After a failure it polls even if no request waits, to find out when Redis answers again.
        if (waiting or self._failures) and self._fetch(waiting, notified=notified):
            # It may be for a reply that this poll found, or for one that was stored after it.
            self._notified_during_poll = wakeup.take_notification()
            self._schedule.is_notified = self._notified_during_poll or notified

    def _fetch(self, waiting: list[str], *, notified: bool) -> bool:
        """Fetch replies to *waiting* and settle their waiters; return whether any were found."""
        began_s = time.monotonic()
        found: dict[str, Reply] = {}
        try:
            found = self._store.fetch_many(waiting or [self.node])
            for correlation_id, reply in found.items():
                waiter = self._waiters.get(correlation_id)
                if waiter is not None:
                    self._schedule.record_reply(waiter, notified=notified)
                self.settle(correlation_id, reply)
        except StoreUnavailable as error:
            self._record_failure(error)
        else:
            if self.store_error is not None:
                logger.info("Redis answers again")
            self.store_error = None
            self._failures = 0
        finally:
            self._schedule.record_poll(began_s)
        return bool(found)

    def _sleep(self, wakeup: PollerWakeup) -> WakeReason:
        """Sleep until the next poll; return NEW_WAITER to compute its time again."""
        # Before the waiters are read: a later waiter sees this, and wakes the poller.
        self._sleeps_until_s = math.inf
        if self._closing:
            return WakeReason.NEW_WAITER
        now_s, poll_s = time.monotonic(), self._next_poll_s()
        if poll_s is not None:
            self._sleeps_until_s = poll_s
        pause_s = IDLE_S if poll_s is None else poll_s - now_s
        uses_notifications = self._schedule.uses_notifications(len(self._waiters))
        notified, self._notified_during_poll = self._notified_during_poll, False
        reason = WakeReason.TIMEOUT
        if notified and uses_notifications:
            reason = WakeReason.NOTIFICATION
        elif pause_s > SHORT_PAUSE_S or (uses_notifications and self._schedule.is_notified):
            reason = wakeup.wait(pause_s, with_notifications=uses_notifications)
        elif pause_s > 0:
            time.sleep(pause_s)
        self._sleeps_until_s = -math.inf
        if poll_s is None and reason is WakeReason.TIMEOUT:
            return WakeReason.NEW_WAITER  # idle: a waiter may have registered at the last moment
        return reason

    def _next_poll_s(self) -> float | None:
        """Return when to poll next (monotonic clock); None without a waiter."""
        if self._failures:
            return self._schedule.polled_s + FAILURE_PAUSE_S
        waiters = list(self._waiters.values())
        return self._schedule.next_poll_s(waiters) if waiters else None
