"""
The breaker of each topic.

Each request to a topic whose responder does not reply would hold its slot until its deadline, and
soon all slots would be held: the other topics would get none. A closed breaker lets every request
pass. When replies stop it opens and rejects, except for PROBES requests at a time that it lets
through (half-open). There is no pause before probing: the first reply closes the breaker.

The requests of one client open the breaker for that client alone, since they may be the reason for
the missing replies. It opens for every client when the requests of several get no reply.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Self

from gateway.exchange.breaker.circuit import Circuit, Circuits
from gateway.exchange.breaker.probes import PROBES, Probes
from gateway.metrics import BREAKER_CLIENTS, BREAKERS_OPEN
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

#: Minimum number of finished requests of a client before the breaker opens for it. It opens for
#: every client with half of them, not counting those of the client with most missing replies.
MIN_FINISHED = 20


class Passage(NamedTuple):
    """A request that a breaker let pass."""

    client: Circuit
    is_probe: bool


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
        self._circuits = Circuits(clock())
        self._probes = Probes()
        self._show_state()

    def acquire(self, name: str) -> Passage:
        """
        Let one request of the client *name* pass; end it with release().

        Raises:
            ResponderSilent: when the breaker is open and no probe is free for the client.
        """
        with self._lock:
            now_s = self._clock()
            client = self._circuits.of(name, now_s)
            circuit = self._circuits.all if self._circuits.all.is_open else client
            if not circuit.is_open or self._probes.take(client, now_s):
                self._circuits.begin(client)
                return Passage(client, is_probe=circuit.is_open)
        requests = " for your requests" if circuit.name else ""
        raise ResponderSilent(
            f"the circuit breaker of topic {self._topic!r} is open{requests}, since no reply has "
            f"come for {now_s - circuit.replied_s:.0f} s; retry after Retry-After, or check the "
            "responder",
            sent=Sent.NO,
        )

    def release(self, passage: Passage, replied: bool | None) -> None:
        """Record whether a request got a reply; None does not count."""
        client = passage.client
        with self._lock:
            if passage.is_probe:
                self._probes.release()
            if replied is not None:
                now_s = self._clock()
                self._circuits.record(client, replied, now_s)
                if replied:
                    self._close(client)
                else:
                    self._open_if_silent(client, now_s)
            self._circuits.end(client)

    def _open_if_silent(self, client: Circuit, now_s: float) -> None:
        every, enough, timeout_s = self._circuits.all, self._min_finished, self._reply_timeout_s
        if not client.is_open and client.is_silent(now_s, enough, timeout_s):
            self._open(client, now_s)
        if not every.is_open and every.is_silent(now_s, enough, timeout_s):
            # One client may be the reason for its missing replies.
            witnesses = self._circuits.witnesses()
            if witnesses.is_silent(now_s, (enough + 1) // 2, timeout_s):
                self._open(every, now_s)

    def _open(self, circuit: Circuit, now_s: float) -> None:
        self._circuits.open(circuit)
        self._show_state()
        logger.error(
            "circuit breaker of topic %s opened%s: %d of %d requests had no reply in time, "
            "last reply %.1f s ago; letting %d at a time through until the first reply",
            self._topic,
            _for_client(circuit),
            circuit.silent,
            circuit.finished,
            now_s - circuit.replied_s,
            PROBES,
        )

    def _close(self, client: Circuit) -> None:
        circuit = self._circuits.all if self._circuits.all.is_open else client
        if circuit.is_open:
            self._circuits.close(client)
            self._show_state()
            logger.warning(
                "circuit breaker of topic %s closed%s: a reply has come",
                self._topic,
                _for_client(circuit),
            )

    def _show_state(self) -> None:
        BREAKERS_OPEN.labels(self._topic).set(self._circuits.all.is_open)
        BREAKER_CLIENTS.labels(self._topic).set(self._circuits.open_clients)


def _for_client(circuit: Circuit) -> str:
    return f" for client {circuit.name}" if circuit.name else ""


class Permit:
    """
    Holds one request's permission to pass a breaker while its ``with`` block runs.

    Attributes:
        is_short_wait: whether the client waits less than the route does by default, so that a
            timeout does not count.
        is_pending: whether the client got its response before the responder replied.
    """

    __slots__ = ("_breaker", "_client", "_passage", "is_pending", "is_short_wait")

    def __init__(self, breaker: TopicBreaker, client: str) -> None:
        self._breaker = breaker
        self._client = client
        self.is_short_wait = False
        self.is_pending = False

    def __enter__(self) -> Self:
        self._passage = self._breaker.acquire(self._client)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        replied: bool | None = None
        if error is None:
            replied = None if self.is_pending else True
        elif isinstance(error, Problem):
            replied = self._replied(error)
        self._breaker.release(self._passage, replied)

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

    def permit(self, topic: str, client: str = "") -> Permit:
        """
        Return a permit for one request of *client*, empty for clients without a name.

        Entering it raises as TopicBreaker.acquire() does.
        """
        return Permit(self._by_topic[topic], client)
