"""The problems of requests that are not, or perhaps not, in Kafka."""

from gateway.exchange.pending_request import WaitOptions
from gateway.problems import BodyTooLarge, NotSent, Problem, Sent
from rendezvous.kafka_client.producer import PublishRefused, PublishTooLarge


def not_sent(error: PublishRefused, correlation_id: str) -> NotSent:
    """Return the problem of a request that is not in Kafka."""
    return NotSent(str(error), correlation_id=correlation_id, sent=Sent.NO)


def refused(error: PublishRefused, correlation_id: str) -> Problem:
    """Return the problem of a request that may be too large for Kafka."""
    if isinstance(error, PublishTooLarge):
        return BodyTooLarge(str(error), correlation_id=correlation_id, sent=Sent.NO)
    return not_sent(error, correlation_id)


def unacknowledged(options: WaitOptions) -> str:
    """Return the detail of a request that may be in Kafka."""
    return f"the broker did not acknowledge it within {options.deadline_s:g} s"
