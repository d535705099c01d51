"""What a gateway process starts once, after any fork, and stops at its end."""

import os
import threading
from collections.abc import Callable
from typing import Protocol


class Part(Protocol):
    """Something with threads or connections of its own."""

    def start(self) -> None:
        """Start it in this process."""

    def close(self) -> None:
        """Stop it."""


class Lifecycle:
    """
    Starts the parts of a gateway in the process that serves, whoever forked it and when.

    Threads and Kafka clients do not survive a fork: what was started before it hangs for ever.
    """

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._pid = 0
        self._lock = threading.Lock()
        #: Says whether the whole server stops; the server puts in what it knows.
        self.stopping: Callable[[], bool] = lambda: False
        #: Says whether this process answers who is there and then ends; likewise.
        self.finishing: Callable[[], bool] = lambda: False

    def add(self, *parts: Part) -> None:
        """Take *parts* in: they start in this order and are closed the other way round."""
        self._parts.extend(parts)

    def draining(self) -> bool:
        """Say whether nobody comes after this process, so that clients should turn elsewhere."""
        return self.stopping()

    def ensure_started(self) -> None:
        """Start the parts unless this very process has done so."""
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid != os.getpid():
                for part in self._parts:
                    part.start()
                self._pid = os.getpid()

    def close(self) -> None:
        """Close what this process has started."""
        if self._pid == os.getpid():
            self._pid = 0
            for part in reversed(self._parts):
                part.close()
