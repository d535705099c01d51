"""Who of those that send one idempotency key is published, and how the others get its reply."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from gateway.exchange.claims import Claim, Claims
from gateway.exchange.idempotency_key import KEY_HEADER, REPLAYED_HEADER, fingerprint_of
from gateway.exchange.requester import Abandoned, Requester, Ticket
from gateway.problems import (
    BadReply,
    IdempotencyKeyReused,
    NotSent,
    Problem,
    ReplyStoreUnavailable,
    ResponderError,
    Sent,
)
from rendezvous.contract import Reply, Request
from rendezvous.errors import StoreUnavailable

logger = logging.getLogger(__name__)

#: Who has waited in vain for another's request publishes its own as long as this share of its time
#: is left; later no responder would have the time to answer.
SHARE_LEFT = 0.25


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What a request has led to.

    Args:
        correlation_id: the id of the request that was published, by this one or an earlier.
        reply: its reply; None when there is none yet and the client takes the promise.
        is_replayed: whether it is the reply to an earlier request with the same key.
    """

    correlation_id: str
    reply: Reply | None
    is_replayed: bool = False


class Idempotency:
    """
    Has one request published for each key; the others, on any replica, get its reply.

    Only what is certain not to be in Kafka frees the key for the next. Otherwise the key stays
    taken until the reply, if one comes, is kept no longer.

    Args:
        claims: who has claimed which key.
        requester: waits for the replies.
        ttl_s: how long keys and their replies are remembered after the request's deadline.
    """

    def __init__(self, claims: Claims, requester: Requester, ttl_s: int) -> None:
        self._claims = claims
        self._requester = requester
        self.ttl_s = ttl_s

    def answer(
        self, name: str, ticket: Ticket, request: Request, publish: Callable[[], Reply | None]
    ) -> Answer:
        """
        Publish *request* unless one was under the same key, and return its reply or the other's.

        Args:
            name: the key with whose it is; see gateway.exchange.idempotency_key.claim_name().
            ticket: the request's; issued with ``keep_s`` of at least ``ttl_s``.
            publish: publishes *request* and returns its reply; see Requester.exchange().

        Raises:
            Problem: the unhappy ending, of this request or of the earlier one.
        """
        mine = Claim(fingerprint_of(request), ticket.correlation_id)
        while True:
            holder = self._take(name, mine)
            if holder == mine:
                with self._freed_if_not_sent(name, mine):
                    # Not later: who dies while it waits for a broker must not keep the key.
                    self._requester.await_broker(ticket)
                    holder = self._confirm(name, mine, ticket)
                    if holder == mine:
                        return Answer(mine.correlation_id, publish())
            if holder is not None:
                if holder.fingerprint != mine.fingerprint:
                    raise IdempotencyKeyReused(
                        f"another request was sent with this {KEY_HEADER}: send a new one with "
                        "each new request",
                        sent=Sent.NO,
                    )
                with suppress(Abandoned):  # then the key is free again, or soon is
                    return self._join(name, holder, ticket)
            if ticket.deadline.remaining_s() < SHARE_LEFT * ticket.terms.deadline_s:
                raise NotSent(
                    f"the earlier request with this {KEY_HEADER} could not be published, and it is "
                    "too late for this one: send it again",
                    correlation_id=ticket.correlation_id,
                    sent=Sent.NO,
                )

    def _take(self, name: str, mine: Claim) -> Claim | None:
        """Return the claim that holds now: *mine*, another's, or None when that has just gone."""
        try:
            return self._claims.take(name, mine)
        except StoreUnavailable as error:
            raise ReplyStoreUnavailable(error.advice, sent=Sent.NO) from error

    def _confirm(self, name: str, mine: Claim, ticket: Ticket) -> Claim | None:
        # It ends together with the reply, which the id says how long to keep.
        ttl_ms = round((ticket.deadline.remaining_s() + self.ttl_s) * 1000)
        try:
            return self._claims.confirm(name, mine, ttl_ms)
        except StoreUnavailable as error:
            raise ReplyStoreUnavailable(error.advice, sent=Sent.NO) from error

    @contextmanager
    def _freed_if_not_sent(self, name: str, mine: Claim) -> Iterator[None]:
        try:
            yield
        except Problem as problem:
            if problem.sent is Sent.NO:
                self._free(name, mine)
            raise

    def _join(self, name: str, holder: Claim, ticket: Ticket) -> Answer:
        first = holder.correlation_id
        try:
            reply = self._requester.join(first, ticket, lambda: self._is_held(name, holder))
        except (BadReply, ResponderError) as problem:
            problem.headers[REPLAYED_HEADER] = "true"
            raise
        return Answer(first, reply, is_replayed=reply is not None)

    def _is_held(self, name: str, claim: Claim) -> bool:
        try:
            return self._claims.holder(name) == claim
        except StoreUnavailable:
            return True  # as far as anybody knows

    def _free(self, name: str, mine: Claim) -> None:
        try:
            self._claims.free(name, mine)
        except StoreUnavailable as error:
            logger.error(
                "%s was not published, and its idempotency key stays taken for up to %d s: %s",
                mine.correlation_id,
                self.ttl_s,
                error,
            )
