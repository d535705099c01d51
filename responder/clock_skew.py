"""
Clock skew: distinguishes a clock ahead of the gateways' from late requests.

A deadline is by the gateway's clock and compared with ours. When ours is ahead, every request seems
late, and without any reply the responder would seem dead. A request that was published just now,
while its partition was read to the end, cannot have waited: if all such requests are late for
MIN_LATE_S, the clocks differ.
"""

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

#: Difference of two clocks that is tolerated, in ms.
CLOCK_TOLERANCE_MS = 2_000
#: Longest time that a gateway waits for a reply, in ms; a later deadline is by another clock.
MAX_WAIT_MS = 60_000
#: Minimum number of consecutive late requests, and minimum time over which they came, that count as
#: skew: a broker that hung delivers a few late ones at once.
MIN_LATE = 5
MIN_LATE_S = 3.0
#: Maximum age of the last late request while the clocks count as different, in seconds.
MAX_LATE_AGE_S = 30.0


class ClockSkew:
    """
    Detects how far our clock is ahead. Safe to use from several threads.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._late = 0  # consecutive late requests
        self._first_s = self._last_s = 0.0  # when the first and the last of them came
        self._least_late_ms = 0
        self._reported = False

    def note(self, late_ms: int) -> None:
        """Note that a request that was just published is *late_ms* past its deadline."""
        with self._lock:
            now_s = self._clock()
            if late_ms <= CLOCK_TOLERANCE_MS:
                self._late = 0
                self._report_end()
                return
            if self._late == 0 or now_s - self._last_s > MAX_LATE_AGE_S:
                self._late, self._first_s, self._least_late_ms = 0, now_s, late_ms
            self._late += 1
            self._last_s = now_s
            self._least_late_ms = min(self._least_late_ms, late_ms)
            if self._is_ahead(now_s) and not self._reported:
                self._reported = True
                logger.error(
                    "this clock is %.0f s or more ahead of the gateways': requests that have just "
                    "been published are past their deadlines and are refused; set it (NTP)",
                    self._least_late_ms / 1000,
                )

    def ahead_s(self) -> float | None:
        """Return how far our clock is ahead at least, in seconds, or None."""
        with self._lock:
            return self._least_late_ms / 1000 if self._is_ahead(self._clock()) else None

    def _is_ahead(self, now_s: float) -> bool:
        return (
            self._late >= MIN_LATE
            and self._last_s - self._first_s >= MIN_LATE_S
            and now_s - self._last_s <= MAX_LATE_AGE_S
        )

    def _report_end(self) -> None:
        if self._reported:
            self._reported = False
            logger.warning("requests arrive before their deadlines again")
