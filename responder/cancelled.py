"""
Cancelled requests that this process knows.

Best effort: a cancellation is known up to POLL_PAUSE_S late, and not while Redis is unreachable. A
handler that has begun is not interrupted.
"""

import logging
import threading
import time

from rendezvous.errors import StoreUnavailable
from rendezvous.process.throttled_log import ThrottledLog
from rendezvous.redis_store.cancellations import CANCELLED_TTL_S, Cancellations

logger = logging.getLogger(__name__)

#: The pause between polls, and after one that failed, in seconds.
POLL_PAUSE_S = 0.25
ERROR_PAUSE_S = 2.0
ERROR_LOG_PAUSE_S = 60.0
#: Maximum number of ids that are remembered; older ones are dropped first.
MAX_REMEMBERED = 100_000


class CancelledRequests:
    """Answers ``correlation_id in cancelled`` from memory; call start() before use."""

    def __init__(self, cancellations: Cancellations) -> None:
        self._cancellations = cancellations
        self._learned_s: dict[str, float] = {}  # monotonic clock; the oldest first
        self._position = ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cancelled", daemon=True)
        self._log = ThrottledLog(logger, ERROR_LOG_PAUSE_S)

    def __contains__(self, correlation_id: object) -> bool:
        """Return whether the request is known to be cancelled."""
        return correlation_id in self._learned_s

    def start(self) -> None:
        """Start the thread that polls."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = 0.0
        while not self._closed.wait(pause_s):
            pause_s = POLL_PAUSE_S
            try:
                self._poll()
            except StoreUnavailable as error:
                self._log.warning("cancelled requests are handled like others: %s", error)
                pause_s = ERROR_PAUSE_S
            except Exception:
                # The thread must survive: an error here must not fail a request.
                logger.exception("polling for cancelled requests failed; trying again")
                pause_s = ERROR_PAUSE_S

    def _poll(self) -> None:
        ids, self._position = self._cancellations.cancelled_since(self._position)
        now_s = time.monotonic()
        for correlation_id in ids:
            self._learned_s.setdefault(correlation_id, now_s)
        while self._learned_s:
            oldest, learned_s = next(iter(self._learned_s.items()))
            if now_s - learned_s <= CANCELLED_TTL_S and len(self._learned_s) <= MAX_REMEMBERED:
                return
            del self._learned_s[oldest]
