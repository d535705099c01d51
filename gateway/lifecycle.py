"""Starts and closes the parts of a process with threads or connections."""

import atexit
import os
import threading
from collections.abc import Callable
from typing import Protocol

from gateway.clients.admission import SlotRules


class Part(Protocol):
    """Something with threads or connections of its own."""

    def start(self) -> None:
        """Start it in this process."""

    def close(self) -> None:
        """Stop it."""


class Lifecycle:
    """
    Starts the parts once per process, and closes them in reverse order.

    Start after any fork: threads and Kafka clients that exist before it hang in the child.
    """

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._pid = 0
        self._lock = threading.Lock()
        #: Returns whether the whole server is draining; set by the server.
        self.stopping: Callable[[], bool] = lambda: False
        #: Returns whether this process serves its open connections only; set by the server.
        self.finishing: Callable[[], bool] = lambda: False
        #: Returns whether a client with this Authorization header may send a body.
        self.admits_body: Callable[[str | None], bool] = lambda authorization: True
        #: Which requests take a slot; None if this is not the whole gateway.
        self.slot_rules: SlotRules | None = None

    def add(self, *parts: Part) -> None:
        """Add *parts*: they start in this order and close in reverse."""
        self._parts.extend(parts)

    def draining(self) -> bool:
        """Return whether the whole server drains, so that clients should use another replica."""
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
        """Close the parts if this process has started them."""
        if self._pid == os.getpid():
            self._pid = 0
            for part in reversed(self._parts):
                part.close()


#: The lifecycle of the gateway that this process serves.
_registered: Lifecycle | None = None


def register(lifecycle: Lifecycle) -> None:
    """Make *lifecycle* the one that the server starts, and close it when the process exits."""
    global _registered
    _registered = lifecycle
    atexit.register(lifecycle.close)


def registered() -> Lifecycle:
    """
    Return the lifecycle of this process, whatever wraps the WSGI application.

    Raises:
        LookupError: when the WSGI module has registered none.
    """
    if _registered is None:
        raise LookupError("no gateway is registered: call gateway.lifecycle.register() in wsgi.py")
    return _registered
