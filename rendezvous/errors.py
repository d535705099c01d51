"""
Errors of the wire contract, the correlation ids and the reply store.

RendezvousError
├── MalformedRecord          a record does not follow the wire contract
├── UnusableReply            a reply names its request, but is not an HTTP response
├── ForeignCorrelationId     an id was not issued under our SECRET_KEY
└── StoreUnavailable         Redis refused or did not answer
    └── WritesRefused        Redis answers, and takes no writes
"""


class RendezvousError(Exception):
    """Base of the errors in this module."""


class MalformedRecord(RendezvousError):
    """Raised when a Kafka record does not follow the wire contract."""


class UnusableReply(RendezvousError):
    """
    Raised when a reply names its request but cannot become an HTTP response.

    It carries the correlation id, so that the client gets an error instead of a timeout.
    """

    def __init__(self, correlation_id: str, reason: str) -> None:
        super().__init__(reason)
        self.correlation_id = correlation_id
        self.reason = reason


class ForeignCorrelationId(RendezvousError):
    """Raised when an id was not issued under our SECRET_KEY, or was altered since."""


class StoreUnavailable(RendezvousError):
    """
    Raised when Redis refuses or does not answer; a later attempt can succeed.

    ``advice`` is for clients and operators: the error, what to do, and no address. The message
    adds *cause*, the error of Redis or of the network.
    """

    def __init__(self, advice: str, cause: object = None) -> None:
        super().__init__(advice if cause is None else f"{advice} ({cause})")
        self.advice = advice


class WritesRefused(StoreUnavailable):
    """Raised when Redis answers but takes no writes: no reply can be stored."""
