"""
Who waits for what in this process, and the one poller that fetches for all of them.

However many requests wait, Redis sees one MGET per tick, and none at all when nobody waits.
"""

import logging
import math
import threading
import time
from types import TracebackType

from gateway.gathering import linger_ms
from gateway.reply_times import ReplyTimes
from replies.contract import Reply
from replies.correlation import new_node
from replies.errors import StoreUnavailable
from replies.store import ReplyStore
from replies.watchdog import Watchdog

logger = logging.getLogger(__name__)

#: The pause between two looks: until a reply is due, then short, then a fixed share of the
#: request's age, so that a slow reply costs few looks.
MIN_PAUSE_S = 0.0005
MAX_PAUSE_S = 0.050
PAUSE_PER_AGE = 0.05
#: And, when many wait, no shorter than so many times the last look took: then the processor is
#: scarce, and each look keeps it from those it is for. For the few, what counts is how soon.
PAUSE_PER_LOOK = 4.0
MANY_WAITERS = 16
#: Of many some are replied to sooner than is usual: there is a look each time that so much of what
#: the fastest replies take has passed, whoever is due. It costs each of them next to nothing.
PAUSE_OF_MANY = 0.1
#: Who waits alone is looked for once after so long, whatever is usual: the responder may have
#: become faster meanwhile, and there is nobody from whom the look keeps anything.
TRIAL_S = 0.010
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


class Waiter:
    """One request that waits for one ending: its reply, or the failure of its publication."""

    __slots__ = ("_settled", "correlation_id", "ending", "holders", "kind", "since_s")

    def __init__(self, correlation_id: str, kind: str = "") -> None:
        self.correlation_id = correlation_id
        self.kind = kind
        #: How many clients wait for it in this process.
        self.holders = 0
        self.since_s = time.monotonic()
        self.ending: Reply | Exception | None = None
        # A bare lock, held until the ending is there: an Event is five times as dear.
        self._settled = threading.Lock()
        self._settled.acquire()

    def wait(self, timeout_s: float) -> Reply | None:
        """
        Return the reply, or None when *timeout_s* has passed without any ending.

        Raises:
            Exception: the one that the mailbox was given as this request's ending.
        """
        if self._settled.acquire(timeout=max(timeout_s, 0)):
            self._settled.release()  # for others who wait for the same
        ending = self.ending  # read once: it may still come after the time is up
        if isinstance(ending, Exception):
            raise ending
        return ending

    def settle(self, ending: Reply | Exception) -> None:
        """Wake whoever waits; to be called once."""
        self.ending = ending
        self._settled.release()


class Mailbox:
    """
    The replies that this process waits for.

    Args:
        store: where the replies arrive.
        watchdog: ends this process when its poller is dead.
    """

    def __init__(self, store: ReplyStore, watchdog: Watchdog | None = None) -> None:
        self._store = store
        self._watchdog = watchdog or Watchdog("the reply poller", POLLER_LIMIT_S)
        self._waiters: dict[str, Waiter] = {}
        self._coming_and_going = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._failures = 0  # of looks, in a row
        self._looked_s = -math.inf  # when the last look ended
        self._look_s = 0.0  # how long it took
        # Until when the poller sleeps: for good when nobody waits; -inf while it is awake.
        self._sleeps_until_s = -math.inf
        self._times = ReplyTimes()
        self._usual_reply_s = 0.0
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
        self._thread = threading.Thread(target=self._poll, name="reply-poller", daemon=True)
        self._thread.start()
        self._watchdog.start()

    def close(self) -> None:
        """Stop the poller. Whoever still waits does so until the deadline."""
        self._watchdog.stop()
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def expecting(self, correlation_id: str, kind: str = "") -> "Expectation":
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
        if self._sleeps_until_s > waiter.since_s + self._times.earliest_s(kind):
            self._wake.set()
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Wait no longer, as one of the holders of *waiter*."""
        with self._coming_and_going:
            waiter.holders -= 1
            if not waiter.holders and self._waiters.get(waiter.correlation_id) is waiter:
                # The poller may have taken it out since.
                self._waiters.pop(waiter.correlation_id, None)

    def linger_ms(self) -> float:
        """Return for how long records may be gathered, by how many wait and for how long."""
        return linger_ms(len(self._waiters), self._usual_reply_s)

    def settle(self, correlation_id: str, ending: Reply | Exception) -> None:
        """Give the waiter of *correlation_id* its ending; the first one counts."""
        # Taking it out of the dict is what decides who was first.
        waiter = self._waiters.pop(correlation_id, None)
        if waiter is not None:
            waiter.settle(ending)

    def look(self, correlation_id: str) -> Reply | None:
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
            self._wake.set()  # from now on it is the poller that asks whether it answers
            raise

    def _note(self, error: StoreUnavailable) -> None:
        self._failures += 1
        if self._failures < FAILURES:
            return
        if self.trouble is None:
            logger.error("%s; %d requests wait", error, len(self._waiters))
        self.trouble = error.advice

    def _poll(self) -> None:
        while not self._closing:
            self._watchdog.beat()
            try:
                if self._sleep():
                    self._fetch(list(self._waiters))
            except Exception:
                # Without the poller every later request would wait in vain.
                logger.exception("the reply poller failed and goes on; %d wait", len(self._waiters))

    def _fetch(self, waiting: list[str]) -> None:
        started_s = time.monotonic()
        try:
            # When nobody waits: nobody's id, only to see whether it answers.
            for correlation_id, reply in self._store.fetch_many(waiting or [self.node]).items():
                self._learn(self._waiters.get(correlation_id))
                self.settle(correlation_id, reply)
        except StoreUnavailable as error:
            self._note(error)
        else:
            if self.trouble is not None:
                logger.info("Redis answers again")
            self.trouble = None
            self._failures = 0
        finally:
            self._looked_s = time.monotonic()
            self._look_s = self._looked_s - started_s

    def _learn(self, waiter: Waiter | None) -> None:
        if waiter is not None and waiter.kind:
            is_first = waiter.since_s > self._looked_s
            took_s = time.monotonic() - waiter.since_s
            self._times.note(waiter.kind, took_s, at_first_look=is_first)

    def _sleep(self) -> bool:
        """Sleep until the next look, and say that it is time; or until there is more to plan."""
        self._wake.clear()
        # Before the waiters are read: whoever registers later sees it and wakes us.
        self._sleeps_until_s = math.inf
        if self._closing:  # close() may have woken us just before the clear()
            return False
        now_s, look_at_s = time.monotonic(), self._next_look_s()
        if look_at_s is not None:
            self._sleeps_until_s = look_at_s
        pause_s = IDLE_PAUSE_S if look_at_s is None else look_at_s - now_s
        woken = False
        if pause_s > SHORT_PAUSE_S:
            woken = self._wake.wait(pause_s)
        elif pause_s > 0:
            time.sleep(pause_s)
        self._sleeps_until_s = -math.inf
        return look_at_s is not None and not woken

    def _next_look_s(self) -> float | None:
        """Return when to look, by the monotonic clock; None when there is nothing to look for."""
        if self._failures:
            return self._looked_s + TROUBLE_PAUSE_S
        waiters = list(self._waiters.values())
        if not waiters:
            return None
        # All pauses are counted from the last look, so that newcomers do not put off the next one.
        since_s = max(self._looked_s, waiters[0].since_s)
        crowd = min(len(waiters) / MANY_WAITERS, 1.0)
        soonest_s = since_s + max(MIN_PAUSE_S, self._look_s * PAUSE_PER_LOOK * crowd)
        due_s = self._first_due_s(waiters, since_s)
        if len(waiters) == 1 and waiters[0].since_s > self._looked_s:
            due_s = min(due_s, waiters[0].since_s + TRIAL_S)
        self._usual_reply_s = self._fastest_usual_s(waiters)
        longest_s = MAX_PAUSE_S
        if len(waiters) >= MANY_WAITERS and self._usual_reply_s:
            longest_s = min(longest_s, self._usual_reply_s * PAUSE_OF_MANY)
        return max(soonest_s, min(due_s, since_s + longest_s))

    def _first_due_s(self, waiters: list[Waiter], since_s: float) -> float:
        first_s = math.inf
        for waiter in waiters:
            grown_s = since_s + (since_s - waiter.since_s) * PAUSE_PER_AGE
            earliest_s = max(self._times.earliest_s(waiter.kind), MIN_PAUSE_S)
            first_s = min(first_s, max(waiter.since_s + earliest_s, grown_s))
        return first_s

    def _fastest_usual_s(self, waiters: list[Waiter]) -> float:
        """Return how long the fastest of their replies usually take; 0 when unknown."""
        usual_s = (self._times.usual_s(waiter.kind) for waiter in waiters if waiter.kind)
        return min(usual_s, default=0.0)


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
