"""What a responder remembers of the requests that it has handled."""

from typing import Protocol

from rendezvous.contract import Reply


class InProgress(Exception):
    """Raised when another delivery of the same request is being handled: ask again later."""


class Journal(Protocol):
    """
    Remembers replies by correlation id, and which requests are being handled right now.

    Safe to use from several threads. Each method but end() raises StoreUnavailable when the memory
    does not answer; to call it again does no harm.
    """

    def begin(self, correlation_id: str) -> Reply | None:
        """
        Return the saved reply, or None: then the request is the calling thread's to handle.

        It stays so until end(), or until a few seconds after this process has died.

        Raises:
            InProgress: when another thread or process has begun it.
        """

    def save(self, correlation_id: str, reply: Reply) -> Reply:
        """Save *reply* unless one is saved already; return the one that is."""

    def end(self, correlation_id: str) -> None:
        """Note that the calling thread is done with the request, saved or not."""
