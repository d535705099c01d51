"""
Poll schedule: decides when the reply poller next queries Redis.

The latency of replies, which it learns, also limits the linger of the producer: a produce request
costs several times what a record costs, so records are batched while many requests wait.
"""

import math
import time
from collections.abc import Sequence

from gateway.exchange.waiter import Waiter

#: Shortest and longest poll interval, in seconds.
MIN_INTERVAL_S = 0.0005
MAX_INTERVAL_S = 0.050
#: Poll interval as a share of the age of a request, once its reply is due. A slow reply thus costs
#: few polls.
INTERVAL_PER_AGE = 0.05
#: Number of waiters from which processor time is scarce.
MANY_WAITERS = 16
#: Minimum poll interval among MANY_WAITERS, as a multiple of the duration of the last poll; less in
#: proportion among fewer.
INTERVAL_PER_POLL = 4.0
#: Maximum poll interval among MANY_WAITERS, as a share of the lowest latency that they have: some
#: replies come early.
INTERVAL_PER_LATENCY = 0.1
#: Time after which a lone waiter is polled for once, whatever the learned latency: the responder
#: may have become faster.
TRIAL_S = 0.010
#: While notifications arrive, time to wait for one after the reply is due, and minimum poll
#: interval: a lost notification delays its reply by this much.
NOTIFICATION_GRACE_S = 0.005
#: Largest number of waiters that rely on notifications. More of them need many polls anyway.
MAX_NOTIFIED_WAITERS = 8

#: Number of waiters below which records are sent at once: too few for a batch.
MIN_LINGER_WAITERS = 8
#: Linger as a share of the lowest latency: for each waiter, and at most.
LINGER_PER_WAITER = 0.01
MAX_LINGER_SHARE = 0.25
#: Maximum linger, in milliseconds; 200 produce requests a second cost little.
MAX_LINGER_MS = 5.0

#: Weight of a slower reply in the learned latency; a faster one replaces it.
SLOWER_WEIGHT = 0.03
#: Share of the learned latency after which polls begin; without it, faster replies would not be
#: noticed.
DUE_SHARE = 0.8
#: Assumed share of the measured latency when the first poll finds the reply, which had arrived at
#: an unknown time before.
FIRST_POLL_SHARE = 0.5


class Latencies:
    """Learned latency of each topic's fast replies, in seconds. For one thread."""

    def __init__(self) -> None:
        self._latency_s: dict[str, float] = {}

    def record(self, topic: str, latency_s: float, *, at_first_poll: bool = False) -> None:
        """Learn from one reply; *at_first_poll* if its first poll found it."""
        if at_first_poll:
            latency_s *= FIRST_POLL_SHARE
        learned_s = self._latency_s.get(topic, latency_s)
        slower_s = max(latency_s - learned_s, 0.0)
        self._latency_s[topic] = min(latency_s, learned_s + SLOWER_WEIGHT * slower_s)

    def of(self, topic: str) -> float:
        """Return the learned latency of *topic*; 0 when unknown."""
        return self._latency_s.get(topic, 0.0)


class PollSchedule:
    """
    The schedule of one poller.

    Attributes:
        polled_s: when the last poll ended, by the monotonic clock.
        is_notified: whether the last replies were notified before a poll found them.
        latencies: the learned latency of each topic.
    """

    def __init__(self) -> None:
        self.polled_s = -math.inf
        self.is_notified = False
        self._lowest_latency_s = 0.0  # of the current waiters; 0 when unknown
        self.latencies = Latencies()
        self._poll_took_s = 0.0

    def record_poll(self, began_s: float) -> None:
        """Record that a poll, which began at *began_s*, has just ended."""
        self.polled_s = time.monotonic()
        self._poll_took_s = self.polled_s - began_s

    def record_reply(self, waiter: Waiter, *, notified: bool) -> None:
        """
        Learn from the reply that a poll found; call it before record_poll().

        Args:
            notified: whether a notification caused the poll.
        """
        if waiter.topic:
            at_first_poll = waiter.since_s > self.polled_s and not notified
            latency_s = time.monotonic() - waiter.since_s
            self.latencies.record(waiter.topic, latency_s, at_first_poll=at_first_poll)

    def notified_within_s(self, waiter: Waiter, waiting: int) -> float:
        """Return how long *waiter*, one of *waiting*, relies on a notification."""
        if not self.is_notified or waiting > MAX_NOTIFIED_WAITERS:
            return 0.0
        return self.latencies.of(waiter.topic) + NOTIFICATION_GRACE_S

    def uses_notifications(self, waiting: int) -> bool:
        """Return whether a notification causes a poll; many *waiting* are polled often anyway."""
        return waiting < MANY_WAITERS

    def due_s(self, waiter: Waiter) -> float:
        """Return when polling for *waiter* begins, by the monotonic clock."""
        return waiter.since_s + DUE_SHARE * self.latencies.of(waiter.topic)

    def next_poll_s(self, waiters: Sequence[Waiter]) -> float:
        """Return when to poll for *waiters*, oldest first, by the monotonic clock."""
        # Intervals count from the last poll, so that new waiters do not postpone the next one.
        since_s = max(self.polled_s, waiters[0].since_s)
        notified = self.uses_notifications(len(waiters)) and self.is_notified
        due_s = self._first_due_s(waiters, since_s, notified)
        if len(waiters) == 1 and waiters[0].since_s > self.polled_s and not notified:
            due_s = min(due_s, waiters[0].since_s + TRIAL_S)
        self._lowest_latency_s = min(
            (self.latencies.of(waiter.topic) for waiter in waiters if waiter.topic), default=0.0
        )
        longest_s = MAX_INTERVAL_S
        if len(waiters) >= MANY_WAITERS and self._lowest_latency_s:
            longest_s = min(longest_s, self._lowest_latency_s * INTERVAL_PER_LATENCY)
        load = min(len(waiters) / MANY_WAITERS, 1.0)
        shortest_s = NOTIFICATION_GRACE_S if notified else MIN_INTERVAL_S
        soonest_s = since_s + max(shortest_s, self._poll_took_s * INTERVAL_PER_POLL * load)
        return max(soonest_s, min(due_s, since_s + longest_s))

    def linger_ms(self, waiting: int) -> float:
        """Return the linger of the producer among *waiting* requests, in milliseconds."""
        if waiting < MIN_LINGER_WAITERS:
            return 0.0
        share = min(waiting * LINGER_PER_WAITER, MAX_LINGER_SHARE)
        return min(self._lowest_latency_s * share * 1000, MAX_LINGER_MS)

    def _first_due_s(self, waiters: Sequence[Waiter], since_s: float, notified: bool) -> float:
        first_s = math.inf
        for waiter in waiters:
            by_age_s = since_s + (since_s - waiter.since_s) * INTERVAL_PER_AGE
            if notified:
                latency_s = self.latencies.of(waiter.topic)
                due_s = waiter.since_s + latency_s + NOTIFICATION_GRACE_S
            else:
                due_s = max(self.due_s(waiter), waiter.since_s + MIN_INTERVAL_S)
            first_s = min(first_s, max(due_s, by_age_s))
        return first_s
