"""One request to its result: idempotency key, circuit breaker, publish, wait."""

from gateway.exchange.breaker.topic_breaker import Breakers
from gateway.exchange.cancellation import is_cancellation
from gateway.exchange.idempotency import Idempotency
from gateway.exchange.pending_request import ExchangeResult, PendingRequest, WaitOptions
from gateway.exchange.requester import Requester
from gateway.problems import IdempotencyUnavailable, Problem, Sent
from rendezvous.contract import Request


class Exchange:
    """
    Exchanges requests for their replies.

    Args:
        idempotency: None without Redis; then requests with a key are rejected.
    """

    def __init__(
        self, requester: Requester, idempotency: Idempotency | None, breakers: Breakers
    ) -> None:
        self._requester = requester
        self._idempotency = idempotency
        self._breakers = breakers

    def issue_id(self, options: WaitOptions, key: str | None) -> tuple[str, int]:
        """
        Return the id of a new request and its deadline; see Requester.issue_id().

        Raises:
            IdempotencyUnavailable: for a *key* without Redis.
        """
        if key is None:
            return self._requester.issue_id(options)
        if self._idempotency is None:
            raise IdempotencyUnavailable(
                "this gateway runs without Redis, where idempotency keys are kept; send the "
                "request without a key, if running it twice does no harm",
                sent=Sent.NO,
            )
        return self._requester.issue_id(options, self._idempotency.ttl_s)

    def run(self, request: Request, options: WaitOptions, key: str | None) -> ExchangeResult:
        """
        Return the result of *request* or of an earlier one with its *key*.

        Raises:
            Problem: any other outcome; its ``sent`` is whether the request is in Kafka.
        """
        pending = PendingRequest.start(request, options, has_key=key is not None)
        if not options.has_reply:  # so that the breaker, which counts replies, has no say
            self._requester.send(pending)
            return ExchangeResult(request.correlation_id, None)
        if key is None or self._idempotency is None:
            return self._publish_and_wait(pending)
        earlier_result = self._idempotency.claim(key, pending)
        if earlier_result is not None:
            return earlier_result
        try:
            return self._publish_and_wait(pending)
        except Problem as problem:
            if problem.sent is Sent.NO:
                self._idempotency.release(key, pending)
            raise

    def _publish_and_wait(self, pending: PendingRequest) -> ExchangeResult:
        with self._breakers.permit(pending.request.topic, pending.options.owner) as permit:
            permit.is_short_wait = pending.options.is_short
            reply = self._requester.exchange(pending)
            permit.is_pending = reply is None or is_cancellation(reply)
        return ExchangeResult(pending.request.correlation_id, reply)
