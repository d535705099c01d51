"""One who waits in this process for the ending of a request."""

import threading
import time
from collections.abc import Callable

from rendezvous.contract import Reply


class Waiter:
    """One request that waits for one ending: its reply, or the failure of its publication."""

    __slots__ = (
        "_settled",
        "call_poller",
        "correlation_id",
        "ending",
        "hinted_within_s",
        "holders",
        "kind",
        "since_s",
    )

    def __init__(self, correlation_id: str, kind: str = "") -> None:
        self.correlation_id = correlation_id
        self.kind = kind
        #: How many clients wait for it in this process.
        self.holders = 0
        self.since_s = time.monotonic()
        self.ending: Reply | Exception | None = None
        #: For so long it counts on a hint of Redis's; then it calls the poller.
        self.hinted_within_s = 0.0
        self.call_poller: Callable[[Waiter], None] | None = None
        # A bare lock, held until the ending is there: an Event is five times as dear.
        self._settled = threading.Lock()
        self._settled.acquire()

    def wait(self, timeout_s: float) -> Reply | None:
        """
        Return the reply, or None when *timeout_s* has passed without any ending.

        Raises:
            Exception: the one that the mailbox was given as this request's ending.
        """
        if self._settles_within(max(timeout_s, 0)):
            self._settled.release()  # for others who wait for the same
        ending = self.ending  # read once: it may still come after the time is up
        if isinstance(ending, Exception):
            raise ending
        return ending

    def settle(self, ending: Reply | Exception) -> None:
        """Wake whoever waits; to be called once."""
        self.ending = ending
        self._settled.release()

    def _settles_within(self, timeout_s: float) -> bool:
        if self.call_poller is None:
            return self._settled.acquire(timeout=timeout_s)
        hinted_s = min(self.hinted_within_s, timeout_s)
        if self._settled.acquire(timeout=hinted_s):
            return True
        self.call_poller(self)
        return self._settled.acquire(timeout=timeout_s - hinted_s)
