"""One request to its result: idempotency key, circuit breaker, publish, wait."""

from gateway.exchange.breaker.topic_breaker import Breakers
from gateway.exchange.cancellation import is_cancellation
from gateway.exchange.idempotency import Idempotency
from gateway.exchange.requester import ExchangeResult, PendingRequest, Requester, WaitOptions
from gateway.problems import Problem, Sent
from rendezvous.contract import Request


class Exchange:
    """Exchanges requests for their replies."""

    def __init__(self, requester: Requester, idempotency: Idempotency, breakers: Breakers) -> None:
        self._requester = requester
        self._idempotency = idempotency
        self._breakers = breakers

    def issue_id(self, options: WaitOptions, key: str | None) -> tuple[str, int]:
        """Return the id of a new request and its deadline; see Requester.issue_id()."""
        keep_s = 0 if key is None else self._idempotency.ttl_s
        return self._requester.issue_id(options, keep_s)

    def run(self, request: Request, options: WaitOptions, key: str | None) -> ExchangeResult:
        """
        Return the result of *request* or of an earlier one with its *key*.

        Raises:
            Problem: any other outcome; its ``sent`` is whether the request is in Kafka.
        """
        pending = PendingRequest.start(request, options, has_key=key is not None)
        if key is None:
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
