"""Journal: the interface to the memory of handled requests."""

from typing import Protocol

from rendezvous.contract import Reply


class InProgress(Exception):
    """Raised when another delivery of the same request is being handled; retry later."""


class Journal(Protocol):
    """
    Stores replies by correlation id, and which requests are being handled.

    Safe to use from several threads. Every method but end() raises StoreUnavailable when the
    storage does not answer; calling it again is harmless.
    """

    def begin(self, correlation_id: str) -> Reply | None:
        """
        Return the saved reply, or None: then the calling thread must handle the request.

        It is claimed until end(), or for a few seconds after this process has died.

        Raises:
            InProgress: when another thread or process has begun it.
        """

    def save(self, correlation_id: str, reply: Reply) -> Reply:
        """Save *reply* unless one is saved already; return the saved one."""

    def end(self, correlation_id: str) -> None:
        """Note that the calling thread has ended handling the request, saved or not."""
