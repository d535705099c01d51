"""Keeps the keys of a token issuer, and fetches them at intervals."""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence

from gateway.clients.tokens.errors import KeysUnavailable, Undecided
from gateway.clients.tokens.key_fetch import FetchError, fetch
from gateway.clients.tokens.key_set import KeySet, KeySetError, read_key_set

logger = logging.getLogger(__name__)

#: Minimum time between two fetches, however many tokens name unknown keys, in seconds.
MIN_INTERVAL_S = 10.0
#: Pause after a failure, in seconds, doubled with each further one up to the maximum.
RETRY_S, MAX_RETRY_S = 1.0, 10.0
#: Maximum time that a request waits for a fetch, in seconds.
WAIT_S = 2.0
#: Maximum number of requests that wait at a time; each holds a thread.
MAX_WAITING = 8
#: Share of the interval by which fetches vary, so that processes do not fetch all at once.
_JITTER = 0.1


class KeySource:
    """
    The keys at a URL (JWKS), for any thread. While the URL fails, the last keys stay.

    Args:
        refresh_s: interval of fetching them, in seconds.
        fetch: returns the document at a URL; raises FetchError.
    """

    def __init__(
        self,
        url: str,
        algorithms: Sequence[str],
        refresh_s: float,
        fetch: Callable[[str], bytes] = fetch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._algorithms = algorithms
        self._refresh_s = refresh_s
        self._fetch = fetch
        self._clock = clock
        #: The current keys; None before the first ones.
        self.keys: KeySet | None = None
        self._document = b""
        self._changed = threading.Condition()
        #: All of these under the lock.
        self._closing = False
        self._is_fetching = False
        self._error = ""  # of the last fetch
        self._failures = 0  # since the last success
        self._fetches = 0
        self._begun_s = -math.inf
        self._due_s = -math.inf
        self._waiting = 0

    def start(self) -> None:
        """Start fetching in a thread."""
        self._closing = False
        self._due_s = -math.inf
        threading.Thread(target=self._run, name="token-keys", daemon=True).start()

    def close(self) -> None:
        """Stop the thread after its current fetch."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def problem(self) -> str | None:
        """Return why there are no keys at all, or None."""
        return self._failure() if self.keys is None else None

    def warning(self) -> str | None:
        """Return why the keys may be outdated, or None."""
        if self.keys is None or not self._error:
            return None
        return f"{self._failure()}; the last keys stay in use"

    def _failure(self) -> str:
        return f"no token keys from JWT_JWKS_URL: {self._error or 'not fetched yet'}"

    def look_again(self, *, may_wait: bool) -> None:
        """
        Return when the keys are so new that a key which is not among them does not exist.

        Raises:
            Undecided: when they have to be fetched first, and *may_wait* is false.
            KeysUnavailable: when they cannot be fetched.
        """
        with self._changed:
            if self._error:
                raise KeysUnavailable  # also while it is fetched once more, which may take long
            if not self._is_fetching:
                if self._clock() < self._begun_s + MIN_INTERVAL_S:
                    return
                self._due_s = -math.inf
                self._changed.notify_all()
            if not may_wait:
                raise Undecided
            if self._waiting >= MAX_WAITING:
                raise KeysUnavailable
            self._wait_for_fetch()

    def _wait_for_fetch(self) -> None:
        fetches = self._fetches
        self._waiting += 1
        try:
            in_time = self._changed.wait_for(lambda: self._fetches > fetches, WAIT_S)
        finally:
            self._waiting -= 1
        if not in_time or self._error:
            raise KeysUnavailable

    def fetch_now(self) -> str:
        """Fetch the keys in this thread; return the error, empty if there is none."""
        try:
            self._keep(self._fetch(self._url))
        except (FetchError, KeySetError) as error:
            return str(error)
        except Exception as error:
            # Without its thread this process would never learn of another key.
            logger.exception("fetching the token keys failed")
            return f"{error!r}; see the log"
        return ""

    def _run(self) -> None:
        while self._wait_until_due():
            self._note(self.fetch_now())

    def _wait_until_due(self) -> bool:
        """Return whether to fetch, when it is time to; false to end."""
        with self._changed:
            while not self._closing and (left_s := self._due_s - self._clock()) > 0:
                self._changed.wait(left_s)
            self._is_fetching = not self._closing
            self._begun_s = self._clock()
            return self._is_fetching

    def _keep(self, document: bytes) -> None:
        if document == self._document:
            return  # the same object: what was verified with it stays so
        keys = read_key_set(document, self._algorithms)
        self.keys, self._document = keys, document
        logger.info("token keys of %s: %d", self._url, len(keys))

    def _note(self, error: str) -> None:
        with self._changed:
            previous, self._error = self._error, error
            self._failures = self._failures + 1 if error else 0
            self._due_s = self._clock() + self._pause_s()
            self._fetches += 1
            self._is_fetching = False
            self._changed.notify_all()
        if error and error != previous:
            state = "no token is accepted yet" if self.keys is None else "the last keys stay in use"
            logger.warning("token keys of %s: %s; %s", self._url, error, state)
        elif previous and not error:
            logger.info("token keys of %s: it answers again", self._url)

    def _pause_s(self) -> float:
        if self._failures:
            return float(min(RETRY_S * 2 ** min(self._failures - 1, 10), MAX_RETRY_S))
        return self._refresh_s * random.uniform(1 - _JITTER, 1 + _JITTER)
