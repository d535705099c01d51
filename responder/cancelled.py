"""
The requests that nobody wants any more, as far as this process has heard.

Best effort: it knows of a cancellation a moment late, and of none while Redis is away. What has
begun goes on.
"""

import logging
import threading
import time

from rendezvous.errors import StoreUnavailable
from rendezvous.process.throttled_log import ThrottledLog
from rendezvous.redis_store.replies import UNWANTED_HOLD_S, ReplyStore

logger = logging.getLogger(__name__)

#: How often Redis is asked, and how long it is left alone when it does not answer.
LOOK_PAUSE_S = 0.25
TROUBLE_PAUSE_S = 2.0
TROUBLE_LOG_PAUSE_S = 60.0
#: So many are remembered; of more, the latest.
MAX_REMEMBERED = 100_000


class CancelledRequests:
    """
    Answers ``correlation_id in unwanted`` without asking anybody; start() before use.

    Args:
        store: where the gateways mark what is unwanted.
    """

    def __init__(self, store: ReplyStore) -> None:
        self._store = store
        self._heard_s: dict[str, float] = {}  # monotonic clock; the oldest first
        self._place = ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="unwanted", daemon=True)
        self._log = ThrottledLog(logger, TROUBLE_LOG_PAUSE_S)

    @classmethod
    def connect(cls, url: str, *, tls_verify: bool) -> "CancelledRequests":
        """Return what is unwanted by the Redis at *url*; see open_redis()."""
        return cls(ReplyStore.connect(url, 0, tls_verify=tls_verify, max_connections=1))

    def __contains__(self, correlation_id: object) -> bool:
        """Say whether the request is known to be unwanted."""
        return correlation_id in self._heard_s

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening and close the connection."""
        self._closed.set()
        self._thread.join()
        self._store.close()

    def _listen(self) -> None:
        pause_s = 0.0
        while not self._closed.wait(pause_s):
            pause_s = LOOK_PAUSE_S
            try:
                self._look()
            except StoreUnavailable as error:
                self._log.warning("cancelled requests are not told apart: %s", error)
                pause_s = TROUBLE_PAUSE_S
            except Exception:
                # Nothing that is wrong here may cost a request.
                logger.exception("looking for cancelled requests failed; trying again")
                pause_s = TROUBLE_PAUSE_S

    def _look(self) -> None:
        found, self._place = self._store.cancelled_since(self._place)
        now_s = time.monotonic()
        for correlation_id in found:
            self._heard_s.setdefault(correlation_id, now_s)
        while self._heard_s:
            oldest, heard_s = next(iter(self._heard_s.items()))
            if now_s - heard_s <= UNWANTED_HOLD_S and len(self._heard_s) <= MAX_REMEMBERED:
                return
            del self._heard_s[oldest]
