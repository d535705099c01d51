"""The application as the unit tests build it."""

from collections.abc import Callable, Sequence
from typing import Any

from flask import Flask

from gateway import create_app
from gateway.admission import Admission
from gateway.breaker import Breakers
from gateway.claims import Claims
from gateway.lifecycle import Lifecycle
from gateway.mailbox import Mailbox
from gateway.once import Once
from gateway.publisher import Publisher
from gateway.rates import Rates
from gateway.readiness import Readiness
from gateway.requester import Requester
from gateway.route_table import Route
from gateway.tally import Tally
from replies.correlation import CorrelationIds
from replies.store import ReplyStore


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
        "once": Once(Claims(redis, ids.deployment), requester, ttl_s=60),
        "admission": Admission(max_in_flight),
        "breakers": Breakers({route.topic: reply_timeout_s for route in routes}),
        "store": store,
        "ids": ids,
        "readiness": Readiness((), draining),
        "lifecycle": Lifecycle(),
        "reply_topic": "replies",
        "reply_timeout_s": reply_timeout_s,
        "max_body_bytes": max_body_bytes,
        "rates": Rates(Tally(redis, ids.deployment)),
    }
    return create_app(**parts | others)
