"""
What can go wrong on the way back.

RendezvousError
├── MalformedRecord          a record that is not part of the wire contract
├── UnusableReply            it names its request, but no HTTP response can be made of it
├── ForeignCorrelationId     an id that no gateway with our key has issued
└── StoreUnavailable         Redis did not do what it was asked, and may later
"""


class RendezvousError(Exception):
    """Base of every error that this software raises on purpose."""


class MalformedRecord(RendezvousError):
    """Raised when a Kafka record does not follow the wire contract."""


class UnusableReply(RendezvousError):
    """
    Raised when a reply names its request but cannot become an HTTP response.

    It carries the correlation id, so that the client can be told instead of left waiting.
    """

    def __init__(self, correlation_id: str, reason: str) -> None:
        super().__init__(reason)
        self.correlation_id = correlation_id
        self.reason = reason


class ForeignCorrelationId(RendezvousError):
    """Raised when an id was not issued with our SECRET_KEY, or was altered since."""


class StoreUnavailable(RendezvousError):
    """
    Raised when Redis refuses or does not answer.

    ``advice`` says what is the matter and what to do, and names no address; the message adds the
    cause as Redis or the network told it.
    """

    def __init__(self, advice: str, cause: object = None) -> None:
        super().__init__(advice if cause is None else f"{advice} ({cause})")
        self.advice = advice
