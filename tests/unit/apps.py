"""The application as the unit tests build it."""

from collections.abc import Callable, Sequence
from typing import Any

from flask import Flask

from gateway.clients.admission import Admission
from gateway.clients.rates import RateLimiter
from gateway.exchange.breaker import Breakers
from gateway.exchange.claims import Claims
from gateway.exchange.idempotency import Idempotency
from gateway.exchange.mailbox import Mailbox
from gateway.exchange.publisher import Publisher
from gateway.exchange.requester import Requester
from gateway.health.readiness import Readiness
from gateway.lifecycle import Lifecycle
from gateway.routing.table import Route
from gateway.web.app import create_app
from rendezvous.correlation import CorrelationIds
from rendezvous.redis_store.cancellations import Cancellations
from rendezvous.redis_store.replies import ReplyStore


def new_app(
    routes: Sequence[Route],
    ids: CorrelationIds,
    mailbox: Mailbox,
    publisher: Publisher,
    store: ReplyStore,
    redis: Any,
    *,
    reply_timeout_s: float = 10.0,
    reply_timeout_status: int = 503,
    max_in_flight: int = 8,
    max_body_bytes: int = 1_000,
    draining: Callable[[], bool] = lambda: False,
    **others: Any,
) -> Flask:
    """Return a gateway over these parts; *others* are arguments of create_app()."""
    requester = Requester(ids, mailbox, publisher, reply_timeout_status)
    parts: dict[str, Any] = {
        "routes": routes,
        "requester": requester,
        "idempotency": Idempotency(Claims(redis, ids.deployment), requester, ttl_s=60),
        "admission": Admission(max_in_flight),
        "breakers": Breakers({route.topic: reply_timeout_s for route in routes}),
        "store": store,
        "cancellations": Cancellations(redis),
        "ids": ids,
        "readiness": Readiness((), draining),
        "lifecycle": Lifecycle(),
        "reply_topic": "replies",
        "reply_timeout_s": reply_timeout_s,
        "max_body_bytes": max_body_bytes,
        "rates": RateLimiter(redis, ids.deployment),
    }
    return create_app(**parts | others)
