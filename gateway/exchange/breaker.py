"""
Circuit breakers: reject requests to a topic whose responder does not reply.

Each request to such a topic would hold its slot until its deadline, and soon all slots would be
held: the other topics would get none. A closed breaker lets every request pass. When replies stop
it opens and rejects, except for PROBES requests at a time that it lets through (half-open). There
is no pause before probing: the first reply closes the breaker.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Self

from gateway.problems import (
    BadReply,
    NotSent,
    Problem,
    ReplyTimeout,
    ResponderError,
    ResponderSilent,
    Sent,
)

logger = logging.getLogger(__name__)

#: Minimum number of finished requests in the window before a breaker opens.
MIN_FINISHED = 20
#: Length of the window, in seconds.
WINDOW_S = 10.0
#: Minimum share of finished requests without a reply before a breaker opens. The last reply must
#: also be older than a client waits.
NO_REPLY_SHARE = 0.5
#: Requests in flight that an open breaker lets through.
PROBES = 3


class TopicBreaker:
    """
    The breaker of one topic in this process.

    Args:
        topic: for messages.
        reply_timeout_s: how long a client waits.
        clock: monotonic, in seconds.
        min_finished: minimum number of finished requests before the breaker opens.
    """

    def __init__(
        self,
        topic: str,
        reply_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        min_finished: int = MIN_FINISHED,
    ) -> None:
        self._min_finished = min_finished
        self._topic = topic
        self._reply_timeout_s = reply_timeout_s
        self._clock = clock
        self._lock = threading.Lock()
        self._finished: deque[tuple[float, bool]] = deque()  # when, and whether with a reply
        self._without_reply = 0  # of the finished requests
        self._replied_s = clock()  # time of the last reply
        self._in_flight = 0
        #: Whether only probes are let through.
        self.is_open = False

    def acquire(self) -> None:
        """
        Let one request pass.

        Raises:
            ResponderSilent: when the breaker is open and PROBES requests are in flight.
        """
        with self._lock:
            if not self.is_open or self._in_flight < PROBES:
                self._in_flight += 1
                return
            silent_s = self._clock() - self._replied_s
        raise ResponderSilent(
            f"the circuit breaker of topic {self._topic!r} is open, since no reply has come for "
            f"{silent_s:.0f} s; retry after Retry-After, or check the responder",
            sent=Sent.NO,
        )

    def release(self, replied: bool | None) -> None:
        """Record whether a request got a reply; None does not count."""
        with self._lock:
            self._in_flight -= 1
            if replied is None:
                return
            now_s = self._clock()
            self._record(now_s, replied)
            if replied:
                self._replied_s = now_s
                self._close()
            elif not self.is_open and self._is_silent(now_s):
                self.is_open = True
                logger.error(
                    "circuit breaker of topic %s opened: %d of %d requests had no reply in time, "
                    "last reply %.1f s ago; letting %d at a time through until the first reply",
                    self._topic,
                    self._without_reply,
                    len(self._finished),
                    now_s - self._replied_s,
                    PROBES,
                )

    def _record(self, now_s: float, replied: bool) -> None:
        self._finished.append((now_s, replied))
        self._without_reply += not replied
        while self._finished[0][0] < now_s - WINDOW_S:
            self._without_reply -= not self._finished.popleft()[1]

    def _is_silent(self, now_s: float) -> bool:
        finished = len(self._finished)
        return (
            finished >= self._min_finished
            and self._without_reply >= finished * NO_REPLY_SHARE
            and now_s - self._replied_s > self._reply_timeout_s
        )

    def _close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._finished.clear()
            self._without_reply = 0
            logger.warning("circuit breaker of topic %s closed: a reply has come", self._topic)


class Permit:
    """
    Holds one request's permission to pass a breaker while its ``with`` block runs.

    Attributes:
        is_short_wait: whether the client waits less than the route does by default, so that a
            timeout does not count.
        is_pending: whether the client got its response before the responder replied.
    """

    __slots__ = ("_breaker", "is_pending", "is_short_wait")

    def __init__(self, breaker: TopicBreaker) -> None:
        self._breaker = breaker
        self.is_short_wait = False
        self.is_pending = False

    def __enter__(self) -> Self:
        self._breaker.acquire()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        replied: bool | None = None
        if error is None:
            replied = None if self.is_pending else True
        elif isinstance(error, Problem):
            replied = self._replied(error)
        self._breaker.release(replied)

    def _replied(self, problem: Problem) -> bool | None:
        if isinstance(problem, (BadReply, ResponderError)):
            return True
        if isinstance(problem, ReplyTimeout) and self.is_short_wait:
            return None
        if isinstance(problem, (ReplyTimeout, NotSent)):
            # A request that was refused at once has not held its slot.
            return None if problem.sent is Sent.NO else False
        return None


class Breakers:
    """
    One breaker per topic.

    Args:
        timeouts_s: how long clients wait for replies, by topic; every topic in use.
        clock: monotonic, in seconds.
        max_in_flight: slots of this process; with fewer than MIN_FINISHED a breaker may open after
            one request for each.
    """

    def __init__(
        self,
        timeouts_s: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
        max_in_flight: int = MIN_FINISHED,
    ) -> None:
        min_finished = min(MIN_FINISHED, max_in_flight)
        self._by_topic = {
            topic: TopicBreaker(topic, timeout_s, clock, min_finished)
            for topic, timeout_s in timeouts_s.items()
        }

    def permit(self, topic: str) -> Permit:
        """Return a permit for one request; entering it raises as TopicBreaker.acquire() does."""
        return Permit(self._by_topic[topic])
