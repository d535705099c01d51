"""
Whether requests come late, or the clocks differ.

A deadline is told by the gateway's clock and compared with ours. When ours is ahead, every request
seems to be too late, and dropping all of them without a word would look like a dead responder. But
a request that was appended a moment ago, while we were reading at the end of its partition, cannot
have waited long. When all of these are late, and for a while, it is the clocks.
"""

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

#: A request may seem late by so much because clocks are never quite the same.
CLOCK_TOLERANCE_MS = 2_000
#: No gateway waits for a reply this long; a deadline further away is by another clock.
MAX_WAIT_MS = 60_000
#: So many fresh requests in a row, over so long, have to be late: a broker that hung hands out a
#: few that have really waited, all at once.
MIN_LATE = 5
MIN_LATE_S = 3.0
#: What was found holds so long without a new sign.
HOLDS_S = 30.0


class ClockSkew:
    """
    Learns from fresh requests how far our clock is from that of the gateways.

    Safe to use from several threads.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._late = 0  # fresh requests in a row
        self._since_s = self._last_s = 0.0
        self._least_ms = 0
        self._reported = False

    def note(self, late_ms: int) -> None:
        """Note that a request which has just been appended is *late_ms* past its deadline."""
        with self._lock:
            now_s = self._clock()
            if late_ms <= CLOCK_TOLERANCE_MS:
                self._late = 0
                self._end_report()
                return
            if self._late == 0 or now_s - self._last_s > HOLDS_S:
                self._late, self._since_s, self._least_ms = 0, now_s, late_ms
            self._late += 1
            self._last_s = now_s
            self._least_ms = min(self._least_ms, late_ms)
            if self._is_ahead(now_s) and not self._reported:
                self._reported = True
                logger.error(
                    "this clock is %.0f s or more ahead of the gateways': requests that have just "
                    "been published are past their deadlines and are refused; set it (NTP)",
                    self._least_ms / 1000,
                )

    def ahead_s(self) -> float | None:
        """Return by how much our clock is ahead, at least, in seconds; None when it is not."""
        with self._lock:
            return self._least_ms / 1000 if self._is_ahead(self._clock()) else None

    def _is_ahead(self, now_s: float) -> bool:
        return (
            self._late >= MIN_LATE
            and self._last_s - self._since_s >= MIN_LATE_S
            and now_s - self._last_s <= HOLDS_S
        )

    def _end_report(self) -> None:
        if self._reported:
            self._reported = False
            logger.warning("requests come before their deadlines again")
