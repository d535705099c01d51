"""One request, from its publication to its reply: register, publish, wait, under one deadline."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.exchange.mailbox import Mailbox
from gateway.exchange.publisher import Publication, Publisher
from gateway.exchange.waiter import Waiter
from gateway.problems import (
    BadReply,
    BodyTooLarge,
    NotSent,
    ReplyStoreUnavailable,
    ReplyTimeout,
    ResponderError,
    Sent,
)
from rendezvous.contract import Outcome, Reply, Request
from rendezvous.correlation import CorrelationIds, epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.kafka_client.producer import PublishRefused, PublishTooLarge

#: The share of the deadline that the first connection to Kafka may take.
CONNECT_SHARE = 0.5
#: How often whoever waits for a request of somebody else looks whether it still makes sense.
LOOK_PAUSE_S = 0.5


class Abandoned(Exception):
    """Raised when the request that was joined is not in Kafka and never will be."""


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


@dataclass(frozen=True, slots=True)
class Terms:
    """
    What was agreed with the client.

    Args:
        wait_s: how long it waits for the reply.
        deadline_s: how long the responder may take to begin; at least as long.
        respond_async: whether it takes the promise of a reply when there is none yet.
        owner: who alone may ask for the reply later; empty for whoever knows the id.
        keep_s: how long the reply is kept at least after the deadline.
    """

    wait_s: float
    deadline_s: float
    respond_async: bool = False
    owner: str = ""
    keep_s: int = 0

    @classmethod
    def waiting(cls, timeout_s: float) -> "Terms":
        """Return the terms of a client that waits for *timeout_s* and no longer."""
        return cls(timeout_s, timeout_s)


@dataclass(frozen=True, slots=True)
class Ticket:
    """An exchange that has an id and is not published yet."""

    correlation_id: str
    deadline_ms: int  # Unix time, for the responder
    wait: Deadline
    deadline: Deadline
    terms: Terms


class Requester:
    """
    Sends requests and waits for their replies.

    Args:
        ids: issues the correlation ids.
        mailbox: where this process waits.
        publisher: how requests reach Kafka.
        reply_timeout_status: the HTTP status of a reply that did not come in time.
    """

    def __init__(
        self,
        ids: CorrelationIds,
        mailbox: Mailbox,
        publisher: Publisher,
        reply_timeout_status: int = 503,
    ) -> None:
        self._ids = ids
        self._mailbox = mailbox
        self._publisher = publisher
        self.reply_timeout_status = reply_timeout_status

    @property
    def node(self) -> str:
        """The name of this process in the ids it issues."""
        return self._mailbox.node

    def issue(self, terms: Terms) -> Ticket:
        """
        Return the ticket of a new exchange; its time runs from now.

        Raises:
            ReplyStoreUnavailable: when the reply could not be awaited anyway.
        """
        if self._mailbox.trouble is not None:
            raise ReplyStoreUnavailable(self._mailbox.trouble, sent=Sent.NO)
        deadline_ms = epoch_ms() + round(terms.deadline_s * 1000)
        correlation_id = self._ids.issue(
            self.node, deadline_ms, owner=terms.owner, keep_s=terms.keep_s
        )
        wait, deadline = Deadline.after(terms.wait_s), Deadline.after(terms.deadline_s)
        return Ticket(correlation_id, deadline_ms, wait, deadline, terms)

    def await_broker(self, ticket: Ticket) -> None:
        """
        Return when a request could be published, in a part of the time that *ticket* leaves.

        Raises:
            NotSent: when no broker has been reached by then.
        """
        try:
            self._publisher.await_broker(ticket.deadline.remaining_s() * CONNECT_SHARE)
        except PublishRefused as error:
            raise NotSent(str(error), correlation_id=ticket.correlation_id, sent=Sent.NO) from error

    def exchange(self, ticket: Ticket, request: Request) -> Reply | None:
        """
        Publish *request* and return its reply, which is an HTTP response.

        None when there is none yet, the broker has the request, and the terms allow for that.

        Raises:
            Problem: the unhappy ending, whose ``sent`` is true to what happened.
        """
        correlation_id = ticket.correlation_id
        # Registered first: a reply may be there before publish() returns.
        with self._mailbox.expecting(correlation_id, request.topic) as waiter:
            try:
                publication = self._publish(request, ticket.deadline)
                reply = waiter.wait(ticket.wait.remaining_s())
                if reply is None and ticket.terms.respond_async:
                    publication.wait(ticket.deadline.remaining_s())
                    reply = waiter.wait(0)
                acknowledged = publication.acknowledged  # read once: it may still come
            except PublishTooLarge as error:
                raise BodyTooLarge(
                    str(error), correlation_id=correlation_id, sent=Sent.NO
                ) from error
            except PublishRefused as error:
                raise NotSent(str(error), correlation_id=correlation_id, sent=Sent.NO) from error
        if reply is None and ticket.terms.respond_async and acknowledged:
            return None
        return usable(reply or self._last_look(ticket, publication, acknowledged))

    def wait_again(
        self, correlation_id: str, timeout_s: float, gives_up: Callable[[], bool]
    ) -> Reply | None:
        """
        Return the reply to a request of any gateway process when it comes within *timeout_s*.

        Args:
            gives_up: asked now and then whether to wait no longer.

        Raises:
            NotSent: when the request turns out to be refused.
        """
        with self._mailbox.expecting(correlation_id) as waiter:
            try:
                return _wait_while(waiter, Deadline.after(timeout_s), lambda: not gives_up())
            except PublishRefused as error:
                raise NotSent(str(error), correlation_id=correlation_id, sent=Sent.NO) from error

    def join(
        self, correlation_id: str, ticket: Ticket, is_held: Callable[[], bool]
    ) -> Reply | None:
        """
        Return the reply to *correlation_id*, which somebody else has published or is about to.

        None when there is none yet and the terms of *ticket* allow for that.

        Args:
            ticket: of whoever joins; its time counts.
            is_held: says, now and then, whether the other still stands by it.

        Raises:
            Abandoned: when the other does not.
            Problem: the unhappy ending; what became of the publication is not known here.
        """
        with self._mailbox.expecting(correlation_id) as waiter:
            try:
                reply = _wait_while(waiter, ticket.wait, is_held)
            except PublishRefused as error:
                raise Abandoned(str(error)) from error
            if reply is None and not is_held():
                raise Abandoned(correlation_id)
        reply = reply or self._look(correlation_id, Sent.UNKNOWN)
        if reply is not None:
            return usable(reply)
        if ticket.terms.respond_async:
            return None
        raise self._timeout(correlation_id, ticket.terms.wait_s, Sent.UNKNOWN)

    def _publish(self, request: Request, deadline: Deadline) -> Publication:
        return self._publisher.publish(
            request,
            deadline.remaining_s() * CONNECT_SHARE,
            lambda refused: self._mailbox.settle(request.correlation_id, refused),
        )

    def _last_look(self, ticket: Ticket, publication: Publication, acknowledged: bool) -> Reply:
        """Return the reply that came at the last moment, or raise the right ending."""
        correlation_id = ticket.correlation_id
        sent = Sent.YES if acknowledged else Sent.UNKNOWN
        reply = self._look(correlation_id, sent)
        if reply is not None:
            return reply
        trouble = publication.trouble
        if trouble is None and ticket.terms.respond_async:
            trouble = f"the broker did not acknowledge it within {ticket.terms.deadline_s:g} s"
        if trouble is not None:
            raise NotSent(trouble, correlation_id=correlation_id, sent=sent)
        raise self._timeout(correlation_id, ticket.terms.wait_s, sent)

    def _look(self, correlation_id: str, sent: Sent) -> Reply | None:
        trouble = self._mailbox.trouble
        if trouble is None:
            try:
                return self._mailbox.look(correlation_id)
            except StoreUnavailable as error:
                trouble = error.advice
        raise ReplyStoreUnavailable(trouble, correlation_id=correlation_id, sent=sent)

    def _timeout(self, correlation_id: str, wait_s: float, sent: Sent) -> ReplyTimeout:
        return ReplyTimeout(
            f"no reply to {correlation_id} within {wait_s:g} s",
            status=self.reply_timeout_status,
            correlation_id=correlation_id,
            sent=sent,
        )


def _wait_while(
    waiter: Waiter, deadline: Deadline, makes_sense: Callable[[], bool]
) -> Reply | None:
    while (left_s := deadline.remaining_s()) > 0 and makes_sense():
        reply = waiter.wait(min(left_s, LOOK_PAUSE_S))
        if reply is not None:
            return reply
    return None


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
