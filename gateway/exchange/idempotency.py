"""
Idempotency keys: one published request per key (draft-ietf-httpapi-idempotency-key-header-07).

A client that repeats a request under the same key, on any replica, gets the reply to the first one,
whether that has arrived yet or not.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from gateway.exchange.claims import Claim, Claims, claim_name
from gateway.exchange.pending_request import ExchangeResult, PendingRequest
from gateway.exchange.releases import Releases
from gateway.exchange.requester import EarlierRequestNotSent, Requester
from gateway.problems import (
    BadReply,
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    KeptRepliesFull,
    NotSent,
    Problem,
    ReplyStoreUnavailable,
    ResponderError,
    Sent,
)
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.kept_replies import KeptReplies

KEY_HEADER = "Idempotency-Key"
#: "true" on a response that is the reply to an earlier request with the same key.
REPLAYED_HEADER = "Idempotent-Replayed"
MAX_KEY_LENGTH = 255
#: Minimum share of its time that a request must have left to be published in place of an earlier
#: one; with less, the responder could not reply in time.
MIN_SHARE_LEFT = 0.25

#: A string as the draft defines it, and a bare token as most clients send it. A comma outside
#: quotes may separate two headers that were joined.
_QUOTED = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])*)"', re.ASCII)
_BARE = re.compile(r"[!#-+\--~]*", re.ASCII)
_ESCAPED = re.compile(r'\\(["\\])')


def key_of(lines: Sequence[str], *, required: bool) -> str | None:
    """
    Return the key in the Idempotency-Key header *lines*; None without a header.

    Raises:
        IdempotencyKeyInvalid: when it is not 1 to 255 visible ASCII characters, quoted or bare.
        IdempotencyKeyMissing: when there is no header and the key is *required*.
    """
    if not lines:
        if required:
            raise IdempotencyKeyMissing(
                f"this route requires an {KEY_HEADER}; send a random one, and the same one with "
                "each retry",
                sent=Sent.NO,
            )
        return None
    key = _parse(lines[0].strip()) if len(lines) == 1 else ""
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise IdempotencyKeyInvalid(
            f"malformed {KEY_HEADER}; send one header of 1 to {MAX_KEY_LENGTH} visible ASCII "
            'characters, in double quotes if it contains a comma or a "',
            sent=Sent.NO,
        )
    return key


def _parse(value: str) -> str:
    """Return the key in a header *value*; empty when it is malformed."""
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        return _ESCAPED.sub(r"\1", quoted[1])
    return value if _BARE.fullmatch(value) else ""


class Idempotency:
    """
    Publishes one request per key; others, on any replica, get its result.

    A key becomes free again only if its request is certainly not in Kafka. Otherwise it stays
    claimed for as long as the reply is kept.

    Args:
        ttl_s: how long keys and their replies are kept after the deadline of the request.
        limits: of the replies that are kept; None for no limit.
    """

    def __init__(
        self,
        claims: Claims,
        requester: Requester,
        ttl_s: int,
        limits: "KeptRepliesLimits | None" = None,
    ) -> None:
        self._claims = claims
        self._releases = Releases(claims)
        self._requester = requester
        self.ttl_s = ttl_s
        self._limits = limits

    def claim(self, key: str, pending: PendingRequest) -> ExchangeResult | None:
        """
        Claim *key*, or wait for the result of the request holding it.

        Returns None when the key is claimed: *pending* is to be published now, and release() to be
        called if it was not sent.

        Raises:
            Problem: when the key cannot be claimed, or the earlier request has no usable reply.
        """
        name, own = _named_claim(key, pending)
        while True:
            with _redis_problems():
                current = self._claims.take(name, own)
            if current == own:
                current = self._confirm(name, own, pending)
                if current == own:
                    return None
            if current is not None:  # of another request
                if current.fingerprint != own.fingerprint:
                    raise IdempotencyKeyReused(
                        f"another request was sent with this {KEY_HEADER}; send a new key with "
                        "each new request",
                        sent=Sent.NO,
                    )
                with suppress(EarlierRequestNotSent):  # the key is free again, or soon will be
                    return self._result_of_earlier(name, current, pending)
            if pending.deadline.remaining_s() < MIN_SHARE_LEFT * pending.options.deadline_s:
                raise NotSent(
                    f"the earlier request with this {KEY_HEADER} was not published, and too little "
                    "time is left for this one; send it again",
                    correlation_id=own.correlation_id,
                    sent=Sent.NO,
                )

    def release(self, key: str, pending: PendingRequest) -> None:
        """Free *key*, which was claimed for *pending*, now or when Redis answers."""
        self._releases.release(*_named_claim(key, pending))

    def _confirm(self, name: str, own: Claim, pending: PendingRequest) -> Claim | None:
        """Keep the claim as long as the reply; return the current claim."""
        try:
            # Before the claim lasts: a process that dies while no broker is connected must not
            # keep the key.
            self._requester.await_broker(pending)
            ttl_ms = round((pending.deadline.remaining_s() + self.ttl_s) * 1000)
            with _redis_problems():
                if self._limits is not None:
                    owner = pending.options.owner
                    self._limits.admit(owner, own.correlation_id, self.ttl_s)
                return self._claims.confirm(name, own, ttl_ms)
        except Problem:
            self._releases.release(name, own)
            raise

    def _result_of_earlier(
        self, name: str, earlier: Claim, pending: PendingRequest
    ) -> ExchangeResult:
        correlation_id = earlier.correlation_id
        try:
            reply = self._requester.wait_for_earlier(
                correlation_id, pending, lambda: self._is_claimed(name, earlier)
            )
        except (BadReply, ResponderError) as problem:
            problem.headers[REPLAYED_HEADER] = "true"
            raise
        return ExchangeResult(correlation_id, reply, is_replayed=reply is not None)

    def _is_claimed(self, name: str, claim: Claim) -> bool:
        try:
            return self._claims.is_current(name, claim)
        except StoreUnavailable:
            return True  # unknown: keep waiting


class KeptRepliesLimits:
    """Limits, in bytes, of the replies that are kept for idempotency keys."""

    def __init__(self, kept: KeptReplies, max_bytes_of_client: int, max_bytes_in_all: int) -> None:
        self._kept = kept
        self._max_bytes_of_client = max_bytes_of_client
        self._max_bytes_in_all = max_bytes_in_all

    def admit(self, client_name: str, correlation_id: str, ttl_s: int) -> None:
        """
        Count a request, unless a limit is reached.

        Raises:
            KeptRepliesFull: when a limit is reached.
            StoreUnavailable: when Redis fails.
        """
        kept = self._kept.begin(client_name, correlation_id, ttl_s)
        limits = (
            ("your client", kept.of_client, self._max_bytes_of_client, 429),
            ("all clients", kept.in_all, self._max_bytes_in_all, 503),
        )
        for whose, found, limit, status in limits:
            if found > limit:
                self._kept.cancel(client_name, correlation_id, ttl_s)
                raise KeptRepliesFull(
                    f"the replies kept for idempotency keys of {whose} have reached {limit} bytes; "
                    "send again later, or without a key if running the request twice does no harm",
                    status=status,
                )


def _named_claim(key: str, pending: PendingRequest) -> tuple[str, Claim]:
    options = pending.options
    return claim_name(options.owner, key), Claim.of(pending.request, options.caller)


@contextmanager
def _redis_problems() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as error:
        raise ReplyStoreUnavailable(error.advice, sent=Sent.NO) from error
