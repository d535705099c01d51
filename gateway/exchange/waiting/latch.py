"""One-shot latch: threads wait until one thread sets it."""

import threading


class Latch:
    """
    A threading.Event that is set once and never cleared.

    It is a bare lock, held until it is set: every request waits on one, and an Event costs five
    times as much.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake every waiting thread; to be called once."""
        self._lock.release()

    def wait(self, timeout_s: float) -> bool:
        """Return whether it is set, at the latest after *timeout_s*."""
        if not self._lock.acquire(timeout=max(timeout_s, 0)):
            return False
        self._lock.release()  # for the next waiting thread
        return True
