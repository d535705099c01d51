"""
Releases claims on idempotency keys, again and again while Redis fails.

Redis may leave both the confirmation of a claim and its release without an answer, and execute the
confirmation later. Without a release, no request with that key would be published for as long as
replies are kept, although none was.
"""

import logging
import threading
import time
from collections import deque
from contextlib import suppress

from gateway.exchange.claims import Claim, Claims
from rendezvous.errors import StoreUnavailable

logger = logging.getLogger(__name__)

#: Pause before each further attempt, in seconds.
RETRY_S = 1.0
#: Maximum number of claims that wait for one; each takes 0.5 kB.
MAX_WAITING = 10_000


class Releases:
    """Releases claims; those that Redis does not release wait for it in a thread."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._waiting: deque[tuple[str, Claim]] = deque()
        #: Guards _thread, which ends when nothing waits.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def release(self, name: str, claim: Claim) -> None:
        """Delete *claim* on *name*, now or when Redis answers again; see Claims.release()."""
        try:
            self._claims.release(name, claim)
        except StoreUnavailable as error:
            fields = {"correlation_id": claim.correlation_id}
            if len(self._waiting) >= MAX_WAITING:
                text = "not published, and its idempotency key stays claimed: %s"
                logger.error(text, error, extra=fields)
                return
            text = "not published, and its idempotency key stays claimed until Redis answers: %s"
            logger.warning(text, error, extra=fields)
            self._waiting.append((name, claim))
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="releases", daemon=True)
                with suppress(RuntimeError):  # no thread can be started; the next failure tries
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        while True:
            time.sleep(RETRY_S)
            try:
                self._try_again()
            except Exception:
                # Without this thread the keys would stay claimed.
                logger.exception("releasing idempotency keys failed; trying again")
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return

    def _try_again(self) -> None:
        """Release what waits, until Redis fails."""
        while self._waiting:
            name, claim = self._waiting.popleft()
            try:
                self._claims.release(name, claim)
            except Exception as error:
                # Behind the others, whose shards of a Redis Cluster may answer.
                self._waiting.append((name, claim))
                if isinstance(error, StoreUnavailable):
                    return
                raise
