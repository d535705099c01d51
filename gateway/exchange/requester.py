"""One request to its reply: register, publish, wait, poll once more."""

import time
from collections.abc import Callable
from dataclasses import replace

from gateway import metrics
from gateway.exchange.pending_request import Deadline, PendingRequest, WaitOptions
from gateway.exchange.publish_problems import not_sent, refused, unacknowledged
from gateway.exchange.publisher import Publication, Publisher
from gateway.exchange.waiting.mailbox import Mailbox
from gateway.exchange.waiting.partition_reader import Addresses, NoAddresses, ReplyAddress
from gateway.exchange.waiting.poller import StoredReplies
from gateway.exchange.waiting.waiter import Waiter
from gateway.problems import (
    BadReply,
    NotSent,
    ReplyStoreUnavailable,
    ReplyTimeout,
    ResponderError,
    Sent,
)
from rendezvous.contract import NO_DEADLINE_MS, Outcome, Reply
from rendezvous.correlation import CorrelationIds, epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.kafka_client.producer import PublishRefused
from rendezvous.process.traces import tracing

#: Largest share of the deadline that the first connection to Kafka may take.
CONNECT_SHARE = 0.5
#: Interval of checking whether to go on waiting for an earlier request's reply, in seconds.
CHECK_INTERVAL_S = 0.5
#: Owner of the ids of requests without replies: no client, so that none can fetch a reply.
NOBODY = "/"


class EarlierRequestNotSent(Exception):
    """Raised when an earlier request was not published and never will be."""


class Requester:
    """
    Publishes requests and waits for their replies.

    Args:
        stored: the replies in Redis.
        addresses: where replies come straight from Kafka; None if all come through Redis.
        reply_timeout_status: HTTP status of a reply that did not arrive in time.
    """

    def __init__(
        self,
        ids: CorrelationIds,
        mailbox: Mailbox,
        stored: StoredReplies,
        publisher: Publisher,
        reply_timeout_status: int = 503,
        addresses: Addresses | None = None,
    ) -> None:
        self._ids = ids
        self._mailbox = mailbox
        self._stored = stored
        self._publisher = publisher
        self._addresses = addresses or NoAddresses()
        self.reply_timeout_status = reply_timeout_status

    @property
    def node(self) -> str:
        """The name of this process in the ids it issues."""
        return self._mailbox.node

    def issue_id(self, options: WaitOptions, keep_s: int = 0) -> tuple[str, int]:
        """
        Return a new correlation id and its deadline (Unix time in ms).

        Without Redis it waits for the first reading of the replies, as for the first connection
        to Kafka: a process that was just started is not ready for requests yet.

        Args:
            keep_s: minimum time to keep the reply after the deadline.

        Raises:
            ReplyStoreUnavailable: when the reply can arrive only in Redis, and Redis cannot be
                reached or takes no writes.
        """
        if not options.has_reply:
            expiry_ms = epoch_ms() + round(options.deadline_s * 1000)
            return self._ids.issue(self.node, expiry_ms, owner=NOBODY), NO_DEADLINE_MS
        store_error = self._stored.store_error or self._stored.write_error
        if store_error is not None and (
            keep_s
            or options.respond_async
            or not self._addresses.await_ready(options.wait_s * CONNECT_SHARE)
        ):
            raise ReplyStoreUnavailable(store_error, sent=Sent.NO)
        deadline_ms = epoch_ms() + round((options.deadline_s - options.queued_s) * 1000)
        correlation_id = self._ids.issue(
            self.node,
            deadline_ms,
            owner=options.owner,
            keep_s=keep_s,
            is_stream=options.is_stream,
        )
        return correlation_id, deadline_ms

    def exchange(self, pending: PendingRequest) -> Reply | None:
        """
        Publish a request and return its reply, which is an HTTP response.

        Returns None when there is no reply yet, the broker has the request and the client accepts
        a 202.

        Raises:
            Problem: any other outcome; its ``sent`` is whether the request is in Kafka.
        """
        correlation_id, options = pending.request.correlation_id, pending.options
        address = self._addresses.take()
        if address is None and self._stored.write_error is not None:
            raise ReplyStoreUnavailable(self._stored.write_error, sent=Sent.NO)
        # Registered first: the reply may arrive before publish() returns.
        with self._mailbox.waiting_for(
            correlation_id,
            pending.request.topic,
            is_shared=address is None or pending.has_key,
            reply_key=b"" if address is None else address.key,
        ) as waiter:
            try:
                publication = self._publish(pending, address)
                reply = waiter.wait(pending.wait.remaining_s())
                if reply is None and options.respond_async:
                    publication.wait(pending.deadline.remaining_s())
                    reply = waiter.wait(0)
                acknowledged = publication.acknowledged  # read once: it may still change
            except PublishRefused as error:
                raise refused(error, correlation_id) from error
        if address is not None and reply is not None and reply.outcome is not Outcome.UNUSABLE:
            # An unusable one may have come without headers, for which its key was taken. Delivered
            # again, it would be the reply to the next request with that key.
            address.give_back()
        if reply is None and options.respond_async and acknowledged:
            return None
        reply = reply or self._last_poll(pending, publication, acknowledged)
        metrics.reply_wait_of(waiter.topic).observe(time.monotonic() - waiter.since_s)
        return usable(reply)

    def send(self, pending: PendingRequest) -> None:
        """
        Publish a request that gets no reply; return once the broker has it.

        Raises:
            Problem: otherwise; its ``sent`` is whether the request is in Kafka.
        """
        refusals: list[PublishRefused] = []
        timeout_s = pending.deadline.remaining_s() * CONNECT_SHARE
        correlation_id = pending.request.correlation_id
        try:
            publication = self._publisher.publish(pending.request, timeout_s, refusals.append)
            publication.wait(pending.deadline.remaining_s())
            if refusals:
                raise refusals[0]
        except PublishRefused as error:
            raise refused(error, correlation_id) from error
        if not publication.acknowledged:
            failure = publication.failure or unacknowledged(pending.options)
            problem = NotSent(failure, correlation_id=correlation_id, sent=Sent.UNKNOWN)
            problem.may_be_answered = False
            raise problem

    def await_broker(self, pending: PendingRequest) -> None:
        """
        Return once a broker is connected, within a share of the remaining time.

        Raises:
            NotSent: when none is connected by then.
        """
        try:
            self._publisher.await_broker(pending.deadline.remaining_s() * CONNECT_SHARE)
        except PublishRefused as error:
            raise not_sent(error, pending.request.correlation_id) from error

    def wait_again(
        self, correlation_id: str, timeout_s: float, gives_up: Callable[[], bool]
    ) -> Reply | None:
        """
        Return a reply, of any gateway process, if it arrives within *timeout_s*.

        Args:
            gives_up: returns whether to stop waiting; called every CHECK_INTERVAL_S.

        Raises:
            NotSent: when Kafka refuses the request during the wait.
        """
        with self._mailbox.waiting_for(correlation_id) as waiter:
            try:
                return _wait_while(waiter, Deadline.after(timeout_s), lambda: not gives_up())
            except PublishRefused as error:
                raise not_sent(error, correlation_id) from error

    def wait_for_earlier(
        self, correlation_id: str, pending: PendingRequest, is_claimed: Callable[[], bool]
    ) -> Reply | None:
        """
        Return the reply to an earlier request, even if not yet published.

        Returns None when there is no reply yet and the client of *pending* accepts a 202.

        Args:
            correlation_id: the id of the earlier request.
            pending: the request that is not published; its time limits the wait.
            is_claimed: returns whether the earlier request still holds the idempotency key; called
                every CHECK_INTERVAL_S.

        Raises:
            EarlierRequestNotSent: when it does not.
            Problem: any other outcome; whether the earlier request was sent is not known here.
        """
        with self._mailbox.waiting_for(correlation_id) as waiter:
            try:
                reply = _wait_while(waiter, pending.wait, is_claimed)
            except PublishRefused as error:
                raise EarlierRequestNotSent(str(error)) from error
            if reply is None and not is_claimed():
                raise EarlierRequestNotSent(correlation_id)
        reply = reply or self._poll(correlation_id, Sent.UNKNOWN)
        if reply is not None:
            return usable(reply)
        if pending.options.respond_async:
            return None
        raise self._timeout(correlation_id, pending.options.wait_s, Sent.UNKNOWN)

    def _publish(self, pending: PendingRequest, address: ReplyAddress | None) -> Publication:
        request = pending.request
        if address is not None:
            request = replace(request, reply_partition=address.partition, reply_key=address.key)
        return self._publisher.publish(
            request,
            pending.deadline.remaining_s() * CONNECT_SHARE,
            lambda refusal: self._settle(request.correlation_id, refusal),
        )

    def _settle(self, correlation_id: str, refusal: PublishRefused) -> None:
        self._mailbox.settle(correlation_id, refusal)

    def _last_poll(
        self, pending: PendingRequest, publication: Publication, acknowledged: bool
    ) -> Reply:
        """Return the reply if it is in Redis now, else raise the problem."""
        correlation_id, options = pending.request.correlation_id, pending.options
        sent = Sent.YES if acknowledged else Sent.UNKNOWN
        reply = self._poll(correlation_id, sent)
        if reply is not None:
            metrics.replies_of("redis").inc()
            return reply
        failure = publication.failure
        if failure is None and options.respond_async:
            failure = unacknowledged(options)
        if failure is not None:
            raise NotSent(failure, correlation_id=correlation_id, sent=sent)
        raise self._timeout(correlation_id, options.wait_s, sent)

    def _poll(self, correlation_id: str, sent: Sent) -> Reply | None:
        store_error = self._stored.store_error
        if store_error is None:
            try:
                reply = self._stored.poll(correlation_id)
            except StoreUnavailable as error:
                store_error = error.advice
            else:
                if reply is not None:
                    tracing.tracer.current().event("reply", {"rendezvous.reply.way": "redis"})
                return reply
        raise ReplyStoreUnavailable(store_error, correlation_id=correlation_id, sent=sent)

    def _timeout(self, correlation_id: str, wait_s: float, sent: Sent) -> ReplyTimeout:
        return ReplyTimeout(
            f"no reply to {correlation_id} within {wait_s:g} s",
            status=self.reply_timeout_status,
            correlation_id=correlation_id,
            sent=sent,
        )


def usable(reply: Reply) -> Reply:
    """
    Return *reply* when it is an HTTP response.

    Raises:
        BadReply: when no HTTP response can be made of it.
        ResponderError: when it reports a failure without an HTTP status.
    """
    if reply.outcome is Outcome.UNUSABLE:
        raise BadReply(reply.detail, correlation_id=reply.correlation_id, sent=Sent.YES)
    if reply.outcome is Outcome.FAILED:
        raise ResponderError(reply.detail, correlation_id=reply.correlation_id, sent=Sent.YES)
    return reply


def _wait_while(
    waiter: Waiter, deadline: Deadline, makes_sense: Callable[[], bool]
) -> Reply | None:
    while (left_s := deadline.remaining_s()) > 0 and makes_sense():
        reply = waiter.wait(min(left_s, CHECK_INTERVAL_S))
        if reply is not None:
            return reply
    return None
