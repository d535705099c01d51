"""
Who is sent on to a topic whose responder is dead: a few, to see whether it is back.

Everybody who waits for a dead responder holds a place until the deadline, and soon all places are
held: the healthy topics starve with it. Here the others are turned away at once, and the few that
are let through find out when it answers again. There is no pause to be waited for, so a responder
that comes back is in service with its first reply.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
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

#: A topic is given up when so many of its requests have ended within the window, ...
MIN_ENDED = 20
WINDOW_S = 10.0
#: ... so many of them without a reply, and the last reply is older than a client waits.
SILENT_SHARE = 0.5
#: How many requests may be in flight to a topic that was given up.
PROBES = 3


class TopicBreaker:
    """
    What is known of one topic's responder, in this process.

    Args:
        topic: for messages.
        reply_timeout_s: how long a client waits.
        clock: monotonic, in seconds.
        min_ended: how many endings tell something.
    """

    def __init__(
        self,
        topic: str,
        reply_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        min_ended: int = MIN_ENDED,
    ) -> None:
        self._min_ended = min_ended
        self._topic = topic
        self._reply_timeout_s = reply_timeout_s
        self._clock = clock
        self._lock = threading.Lock()
        self._endings: deque[tuple[float, bool]] = deque()  # when, and whether without a reply
        self._silent = 0  # how many of the endings were without a reply
        self._replied_s = clock()
        self._in_flight = 0
        #: Whether only probes are let through.
        self.is_open = False

    def enter(self) -> None:
        """
        Take a request in.

        Raises:
            ResponderSilent: when the responder is given up and enough requests probe it.
        """
        with self._lock:
            if not self.is_open or self._in_flight < PROBES:
                self._in_flight += 1
                return
            silent_s = self._clock() - self._replied_s
        raise ResponderSilent(
            f"nothing has come back from topic {self._topic!r} for {silent_s:.0f} s: "
            "see to its responder",
            sent=Sent.NO,
        )

    def left(self, replied: bool | None) -> None:
        """Note how a request ended: with a reply, in vain, or (None) for reasons of its own."""
        with self._lock:
            self._in_flight -= 1
            if replied is None:
                return
            now_s = self._clock()
            self._note(now_s, silent=not replied)
            if replied:
                self._replied_s = now_s
                self._close()
            elif not self.is_open and self._is_dead(now_s):
                self.is_open = True
                logger.error(
                    "topic %s: %d of %d requests had no reply in time, none came for %.1f s; "
                    "only %d at a time are let through until one does",
                    self._topic,
                    self._silent,
                    len(self._endings),
                    now_s - self._replied_s,
                    PROBES,
                )

    def _note(self, now_s: float, silent: bool) -> None:
        self._endings.append((now_s, silent))
        self._silent += silent
        while self._endings[0][0] < now_s - WINDOW_S:
            self._silent -= self._endings.popleft()[1]

    def _is_dead(self, now_s: float) -> bool:
        ended = len(self._endings)
        return (
            ended >= self._min_ended
            and self._silent >= ended * SILENT_SHARE
            and now_s - self._replied_s > self._reply_timeout_s
        )

    def _close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._endings.clear()
            self._silent = 0
            logger.warning("topic %s: replies come again", self._topic)


class Permit:
    """
    One request on its way, from the start to the end of the ``with`` block, and what its end can
    tell of the responder.

    Attributes:
        hurried: its client waits less than the route would, so that a timeout tells nothing.
        pending: it has ended for its client before the responder has replied.
    """

    __slots__ = ("_breaker", "hurried", "pending")

    def __init__(self, breaker: TopicBreaker) -> None:
        self._breaker = breaker
        self.hurried = False
        self.pending = False

    def __enter__(self) -> Self:
        self._breaker.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        replied: bool | None = None
        if error is None:
            replied = None if self.pending else True
        elif isinstance(error, Problem):
            replied = _replied(error, self)
        self._breaker.left(replied)


class Breakers:
    """
    A breaker for each topic.

    Args:
        timeouts_s: how long clients wait for replies from each topic that is published to.
        clock: monotonic, in seconds.
        max_in_flight: how many places this process has; when they have all been held in vain,
            that tells enough.
    """

    def __init__(
        self,
        timeouts_s: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
        max_in_flight: int = MIN_ENDED,
    ) -> None:
        enough = min(MIN_ENDED, max_in_flight)
        self._by_topic = {
            topic: TopicBreaker(topic, timeout_s, clock, enough)
            for topic, timeout_s in timeouts_s.items()
        }

    def admit(self, topic: str) -> Permit:
        """
        Return the passage of one request over *topic*; its ``with`` block learns from how it ends.

        Entering it raises:
            ResponderSilent: when the topic's responder is given up.
        """
        return Permit(self._by_topic[topic])


def _replied(problem: Problem, passage: Permit) -> bool | None:
    if isinstance(problem, ReplyTimeout) and passage.hurried:
        return None
    if isinstance(problem, (ReplyTimeout, NotSent)):
        # What was refused at once held nobody's place.
        return None if problem.sent is Sent.NO else False
    return True if isinstance(problem, (BadReply, ResponderError)) else None
