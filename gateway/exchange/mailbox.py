"""
Who waits for what in this process, and the one poller that fetches for all of them.

However many requests wait, Redis sees one MGET per tick, and none at all when nobody waits.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from types import TracebackType

from gateway.exchange.linger import linger_ms
from gateway.exchange.poll_schedule import PollSchedule
from gateway.exchange.waiter import Waiter
from gateway.exchange.wakeup import Notifications, PollerSleep, WakeReason
from rendezvous.contract import Reply
from rendezvous.correlation import new_node
from rendezvous.errors import StoreUnavailable
from rendezvous.process.watchdog import Watchdog
from rendezvous.redis_store.replies import ReplyStore

logger = logging.getLogger(__name__)

#: Above this a pause can be cut short by a request whose reply may come sooner.
SHORT_PAUSE_S = 0.005
#: The pause after Redis failed.
TROUBLE_PAUSE_S = 0.1
#: So many failures in a row are trouble, of which newcomers are told at once. A single one is a
#: connection that was reset, or a machine that stood still for a moment.
FAILURES = 2
#: How long the poller sleeps when nobody waits, to show then that it is alive.
IDLE_PAUSE_S = 1.0
#: One look takes 0.25 s at most. A poller that is silent for so long hangs or is dead, and whoever
#: waits in this process waits in vain.
POLLER_LIMIT_S = 10.0


class Mailbox:
    """
    The replies that this process waits for.

    Args:
        store: where the replies arrive.
        watchdog: ends this process when its poller is dead.
        subscribe: subscribes to the notifications for a node, or raises StoreUnavailable; None to
            poll without.
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
        self._coming_and_going = threading.Lock()
        self._alarm: PollerSleep | None = None
        self._closing = False
        self._failures = 0  # of looks, in a row
        # Until when the poller sleeps: for good when nobody waits; -inf while it is awake.
        self._sleeps_until_s = -math.inf
        self._looks = PollSchedule()
        self._hinted_meanwhile = False
        self._thread: threading.Thread | None = None
        #: The name of this process in the ids it issues.
        self.node = new_node()
        #: Why Redis cannot be asked at the moment, in words for a client, or None.
        self.trouble: str | None = None

    def start(self) -> None:
        """Start the poller; to be called in the process that waits, after any fork."""
        self.node = new_node()
        self._waiters.clear()
        self._closing = False
        subscribe = self._subscribe
        self._alarm = PollerSleep(None if subscribe is None else (lambda: subscribe(self.node)))
        self._thread = threading.Thread(
            target=self._poll, args=(self._alarm,), name="reply-poller", daemon=True
        )
        self._thread.start()
        self._watchdog.start()

    def close(self) -> None:
        """Stop the poller. Whoever still waits does so until the deadline."""
        self._watchdog.stop()
        self._closing = True
        self._ring()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def waiting_for(self, correlation_id: str, kind: str = "") -> "Expectation":
        """
        Return a ``with`` block that waits for the ending of *correlation_id*.

        Alone or with others in this process; to be entered before the request is published.

        Args:
            kind: what such requests have in common, as to how long they take; empty when unknown.
        """
        return Expectation(self, correlation_id, kind)

    def enter(self, correlation_id: str, kind: str) -> Waiter:
        """Return the waiter for *correlation_id*, of whom there is one more holder now."""
        with self._coming_and_going:
            waiter = self._waiters.get(correlation_id)
            if waiter is None:
                waiter = self._waiters[correlation_id] = Waiter(correlation_id, kind)
            waiter.holders += 1
        waiter.notified_within_s = self._looks.notified_within_s(waiter, len(self._waiters))
        if waiter.notified_within_s:
            # Asleep, the poller keeps nobody from the processor while the request is published.
            waiter.call_poller = self._call_poller
        else:
            self._call_poller(waiter)
        return waiter

    def _call_poller(self, waiter: Waiter) -> None:
        """See to it that the poller looks for *waiter* in time."""
        if self._sleeps_until_s > self._looks.earliest_s(waiter):
            self._ring()

    def _ring(self) -> None:
        if self._alarm is not None:
            self._alarm.ring()

    def leave(self, waiter: Waiter) -> None:
        """Wait no longer, as one of the holders of *waiter*."""
        with self._coming_and_going:
            waiter.holders -= 1
            if not waiter.holders and self._waiters.get(waiter.correlation_id) is waiter:
                # The poller may have taken it out since.
                self._waiters.pop(waiter.correlation_id, None)

    def linger_ms(self) -> float:
        """Return for how long records may be gathered, by how many wait and for how long."""
        return linger_ms(len(self._waiters), self._looks.usual_reply_s)

    def settle(self, correlation_id: str, ending: Reply | Exception) -> None:
        """Give the waiter of *correlation_id* its ending; the first one counts."""
        # Taking it out of the dict is what decides who was first.
        waiter = self._waiters.pop(correlation_id, None)
        if waiter is not None:
            waiter.settle(ending)

    def poll(self, correlation_id: str) -> Reply | None:
        """
        Return the reply to *correlation_id* if it has arrived.

        Raises:
            StoreUnavailable: when Redis cannot be asked.
        """
        return self._store.fetch(correlation_id)

    def check(self) -> None:
        """
        Ask the store what a waiter would ask; to be called now and then, so that the first request
        after a while need not be the one to find out that Redis is gone.

        Raises:
            StoreUnavailable: when Redis cannot be asked.
        """
        try:
            self._store.fetch_many([self.node])  # nobody's id
        except StoreUnavailable as error:
            self._note(error)
            self._ring()  # from now on it is the poller that asks whether it answers
            raise

    def _note(self, error: StoreUnavailable) -> None:
        self._failures += 1
        if self._failures < FAILURES:
            return
        if self.trouble is None:
            logger.error("%s; %d requests wait", error, len(self._waiters))
        self.trouble = error.advice

    def _poll(self, alarm: PollerSleep) -> None:
        while not self._closing:
            self._watchdog.beat()
            try:
                self._turn(alarm)
            except Exception:
                # Without the poller every later request would wait in vain.
                logger.exception("the reply poller failed and goes on; %d wait", len(self._waiters))
        alarm.close()

    def _turn(self, alarm: PollerSleep) -> None:
        if not self._failures:
            alarm.listen()
        if not alarm.listens:
            self._looks.are_hinted = False
        woken = self._sleep(alarm)
        if woken is WakeReason.RUNG:
            return
        waiting, hinted = list(self._waiters), woken is WakeReason.HINTED
        # When nobody waits there is nothing to look for, but whether Redis answers again.
        if (waiting or self._failures) and self._fetch(waiting, hinted=hinted):
            # The hint may have come when the look was under way already: for what it has found, or
            # for what it was too early to find.
            self._hinted_meanwhile = alarm.hinted()
            self._looks.are_hinted = self._hinted_meanwhile or hinted

    def _fetch(self, waiting: list[str], *, hinted: bool) -> bool:
        """Look for those *waiting*, or for nobody; say whether something was found."""
        began_s = time.monotonic()
        found: dict[str, Reply] = {}
        try:
            found = self._store.fetch_many(waiting or [self.node])
            for correlation_id, reply in found.items():
                waiter = self._waiters.get(correlation_id)
                if waiter is not None:
                    self._looks.learn(waiter, hinted=hinted)
                self.settle(correlation_id, reply)
        except StoreUnavailable as error:
            self._note(error)
        else:
            if self.trouble is not None:
                logger.info("Redis answers again")
            self.trouble = None
            self._failures = 0
        finally:
            self._looks.note(began_s)
        return bool(found)

    def _sleep(self, alarm: PollerSleep) -> WakeReason:
        """Sleep until the next look, and say why it has ended; RUNG when there is more to plan."""
        # Before the waiters are read: whoever registers later sees it and rings.
        self._sleeps_until_s = math.inf
        if self._closing:
            return WakeReason.RUNG
        now_s, look_at_s = time.monotonic(), self._next_look_s()
        if look_at_s is not None:
            self._sleeps_until_s = look_at_s
        pause_s = IDLE_PAUSE_S if look_at_s is None else look_at_s - now_s
        heed_hints = self._looks.heeds_hints(len(self._waiters))
        meanwhile, self._hinted_meanwhile = self._hinted_meanwhile, False
        woken = WakeReason.IN_TIME
        if meanwhile and heed_hints:
            woken = WakeReason.HINTED
        elif pause_s > SHORT_PAUSE_S or (heed_hints and self._looks.are_hinted):
            woken = alarm.sleep(pause_s, heed_hints=heed_hints)
        elif pause_s > 0:
            time.sleep(pause_s)
        self._sleeps_until_s = -math.inf
        return WakeReason.RUNG if look_at_s is None and woken is WakeReason.IN_TIME else woken

    def _next_look_s(self) -> float | None:
        """Return when to look, by the monotonic clock; None when there is nothing to look for."""
        if self._failures:
            return self._looks.looked_s + TROUBLE_PAUSE_S
        waiters = list(self._waiters.values())
        return self._looks.next_s(waiters) if waiters else None


class Expectation:
    """Somebody who waits, from the start to the end of the ``with`` block."""

    __slots__ = ("_correlation_id", "_kind", "_mailbox", "_waiter")

    def __init__(self, mailbox: Mailbox, correlation_id: str, kind: str) -> None:
        self._mailbox = mailbox
        self._correlation_id = correlation_id
        self._kind = kind
        self._waiter: Waiter

    def __enter__(self) -> Waiter:
        waiter = self._waiter = self._mailbox.enter(self._correlation_id, self._kind)
        return waiter

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._mailbox.leave(self._waiter)
