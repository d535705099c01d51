"""One request, from its publication to its reply: register, publish, wait, under one deadline."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import (
    BadReply,
    BodyTooLarge,
    NotSent,
    ReplyStoreUnavailable,
    ReplyTimeout,
    ResponderError,
    Sent,
)
from gateway.mailbox import Mailbox, Waiter
from gateway.publisher import Publication, Publisher, PublishRefused, PublishTooLarge
from replies.contract import Outcome, Reply, Request
from replies.correlation import CorrelationIds, epoch_ms
from replies.errors import StoreUnavailable

#: The share of the deadline that the first connection to Kafka may take.
CONNECT_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of one exchange: one reading of the monotonic clock counts for all of it."""

    at_s: float  # monotonic clock

    @classmethod
    def after(cls, timeout_s: float) -> "Deadline":
        """Return the deadline *timeout_s* from now."""
        return cls(time.monotonic() + timeout_s)

    def remaining_s(self) -> float:
        """Return the seconds that are left; negative once past."""
        return self.at_s - time.monotonic()


class Requester:
    """
    Sends requests and waits for their replies.

    Args:
        ids: issues the correlation ids.
        mailbox: where this process waits.
        publisher: how requests reach Kafka.
        reply_timeout_s: how long one exchange may take.
        reply_timeout_status: the HTTP status of a reply that did not come in time.
    """

    def __init__(
        self,
        ids: CorrelationIds,
        mailbox: Mailbox,
        publisher: Publisher,
        reply_timeout_s: float,
        reply_timeout_status: int = 503,
    ) -> None:
        self._ids = ids
        self._mailbox = mailbox
        self._publisher = publisher
        self._reply_timeout_s = reply_timeout_s
        self._reply_timeout_status = reply_timeout_status

    @property
    def node(self) -> str:
        """The name of this process in the ids it issues."""
        return self._mailbox.node

    def send_and_receive(self, new_request: Callable[[str, int], Request]) -> Reply:
        """
        Publish a request and return its reply, which is an HTTP response.

        Args:
            new_request: makes the request of the correlation id and the deadline (Unix time in ms).

        Raises:
            Problem: the unhappy ending, whose ``sent`` is true to what happened.
        """
        if self._mailbox.trouble is not None:
            raise ReplyStoreUnavailable(self._mailbox.trouble, sent=Sent.NO)
        deadline = Deadline.after(self._reply_timeout_s)
        deadline_ms = epoch_ms() + round(self._reply_timeout_s * 1000)
        correlation_id = self._ids.issue(self._mailbox.node, deadline_ms)
        request = new_request(correlation_id, deadline_ms)
        # Registered first: a reply may be there before publish() returns.
        with self._mailbox.expecting(correlation_id) as waiter:
            try:
                publication = self._publish(request, deadline)
                reply = waiter.wait(deadline.remaining_s())
            except PublishTooLarge as error:
                raise BodyTooLarge(
                    str(error), correlation_id=correlation_id, sent=Sent.NO
                ) from error
            except PublishRefused as error:
                raise NotSent(str(error), correlation_id=correlation_id, sent=Sent.NO) from error
        return usable(reply or self._last_look(waiter, publication))

    def _publish(self, request: Request, deadline: Deadline) -> Publication:
        return self._publisher.publish(
            request,
            deadline.remaining_s() * CONNECT_SHARE,
            lambda refused: self._mailbox.settle(request.correlation_id, refused),
        )

    def _last_look(self, waiter: Waiter, publication: Publication) -> Reply:
        """Return the reply that came at the last moment, or raise the right ending."""
        correlation_id = waiter.correlation_id
        trouble = self._mailbox.trouble
        if trouble is None:
            try:
                reply = self._mailbox.look(correlation_id)
            except StoreUnavailable as error:
                trouble = error.advice
            else:
                if reply is not None:
                    return reply
        sent = Sent.YES if publication.acknowledged else Sent.UNKNOWN
        if trouble is not None:
            raise ReplyStoreUnavailable(trouble, correlation_id=correlation_id, sent=sent)
        if publication.trouble is not None:
            raise NotSent(publication.trouble, correlation_id=correlation_id, sent=sent)
        raise ReplyTimeout(
            f"no reply to {correlation_id} within {self._reply_timeout_s:g} s",
            status=self._reply_timeout_status,
            correlation_id=correlation_id,
            sent=sent,
        )


def usable(reply: Reply) -> Reply:
    """
    Return *reply* when it is an HTTP response.

    Raises:
        BadReply: when no response can be made of it.
        ResponderError: when it reports a failure without an HTTP status.
    """
    if reply.outcome is Outcome.UNUSABLE:
        raise BadReply(reply.detail, correlation_id=reply.correlation_id, sent=Sent.YES)
    if reply.outcome is Outcome.FAILED:
        raise ResponderError(reply.detail, correlation_id=reply.correlation_id, sent=Sent.YES)
    return reply
