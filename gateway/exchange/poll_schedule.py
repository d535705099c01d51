"""When the reply poller looks into Redis: as late as it can be without keeping anybody waiting."""

import math
import time
from collections.abc import Sequence

from gateway.exchange.reply_times import ReplyTimes
from gateway.exchange.waiter import Waiter

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
#: While hints come before the looks do, the few are looked for only so long after they were due,
#: and no more often than that: should a hint be lost, its reply is late by so much.
HINT_GRACE_S = 0.005
#: How many can do without looks, as long as hints come. More than that need many anyway.
FEW_HINTED = 8


class PollSchedule:
    """
    The plan of one poller.

    Attributes:
        looked_s: when the last look ended, by the monotonic clock.
        are_hinted: whether the last replies were announced by a hint before they were found.
        usual_reply_s: how long the fastest of the replies that are waited for usually take, as of
            the last plan; 0 when unknown.
        times: how long replies take.
    """

    def __init__(self) -> None:
        self.looked_s = -math.inf
        self.are_hinted = False
        self.usual_reply_s = 0.0
        self.times = ReplyTimes()
        self._look_s = 0.0

    def note(self, began_s: float) -> None:
        """Note that a look, which began at *began_s*, has just ended."""
        self.looked_s = time.monotonic()
        self._look_s = self.looked_s - began_s

    def learn(self, waiter: Waiter, *, hinted: bool) -> None:
        """
        Learn from the reply that a look has just found for *waiter*; to be called before note().

        Args:
            hinted: whether a hint has led to the look.
        """
        if waiter.kind:
            at_first_look = waiter.since_s > self.looked_s and not hinted
            took_s = time.monotonic() - waiter.since_s
            self.times.note(waiter.kind, took_s, at_first_look=at_first_look)

    def notified_within_s(self, waiter: Waiter, waiting: int) -> float:
        """Return for how long *waiter* can count on a hint among *waiting*; 0 when it cannot."""
        if not self.are_hinted or waiting > FEW_HINTED:
            return 0.0
        return self.times.usual_s(waiter.kind) + HINT_GRACE_S

    def earliest_s(self, waiter: Waiter) -> float:
        """Return when it makes sense to look for *waiter*."""
        return waiter.since_s + self.times.earliest_s(waiter.kind)

    def next_s(self, waiters: Sequence[Waiter]) -> float:
        """Return when to look for *waiters*, the first of whom has waited longest."""
        # All pauses are counted from the last look, so that newcomers do not put off the next one.
        since_s = max(self.looked_s, waiters[0].since_s)
        hinted = self.heeds_hints(len(waiters)) and self.are_hinted
        due_s = self._first_due_s(waiters, since_s, hinted)
        if len(waiters) == 1 and waiters[0].since_s > self.looked_s and not hinted:
            due_s = min(due_s, waiters[0].since_s + TRIAL_S)
        self.usual_reply_s = self._fastest_usual_s(waiters)
        longest_s = MAX_PAUSE_S
        if len(waiters) >= MANY_WAITERS and self.usual_reply_s:
            longest_s = min(longest_s, self.usual_reply_s * PAUSE_OF_MANY)
        crowd = min(len(waiters) / MANY_WAITERS, 1.0)
        least_s = HINT_GRACE_S if hinted else MIN_PAUSE_S
        soonest_s = since_s + max(least_s, self._look_s * PAUSE_PER_LOOK * crowd)
        return max(soonest_s, min(due_s, since_s + longest_s))

    def heeds_hints(self, waiting: int) -> bool:
        """Say whether a hint is a reason to look when so many wait; many are looked for anyway."""
        return waiting < MANY_WAITERS

    def _first_due_s(self, waiters: Sequence[Waiter], since_s: float, hinted: bool) -> float:
        first_s = math.inf
        for waiter in waiters:
            grown_s = since_s + (since_s - waiter.since_s) * PAUSE_PER_AGE
            if hinted:
                due_s = waiter.since_s + self.times.usual_s(waiter.kind) + HINT_GRACE_S
            else:
                due_s = max(self.earliest_s(waiter), waiter.since_s + MIN_PAUSE_S)
            first_s = min(first_s, max(due_s, grown_s))
        return first_s

    def _fastest_usual_s(self, waiters: Sequence[Waiter]) -> float:
        usual_s = (self.times.usual_s(waiter.kind) for waiter in waiters if waiter.kind)
        return min(usual_s, default=0.0)
