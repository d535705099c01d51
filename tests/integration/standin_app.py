"""The real application, as wsgi.py makes it, with an echo where Kafka and Redis would be."""

import os
import time
from typing import Any
from urllib.parse import parse_qs

from fakeredis import FakeRedis

from gateway import config as configuration
from gateway.clients.admission import Admission
from gateway.clients.rates import RateLimiter
from gateway.exchange.breaker import Breakers
from gateway.exchange.idempotency import Idempotency
from gateway.exchange.requester import Deadline, Terms, Ticket
from gateway.health.readiness import Readiness
from gateway.lifecycle import Lifecycle
from gateway.web.app import create_app
from rendezvous.contract import Reply, Request
from rendezvous.correlation import CorrelationIds


class EchoRequester:
    """Replies with the body, after the ``delay_s`` of the query."""

    node = f"worker {os.getpid()}"
    reply_timeout_status = 503

    def issue(self, terms: Terms) -> Ticket:
        end = Deadline.after(terms.wait_s)
        return Ticket("the-id", 0, end, end, terms)

    def exchange(self, ticket: Ticket, request: Request) -> Reply:
        time.sleep(float(parse_qs(request.query).get("delay_s", ["0"])[0]))
        return Reply.to(request, request.body)


configured = configuration.current()
settings = configured.settings
lifecycle = Lifecycle()
ids = CorrelationIds(settings.secret_key)
nothing: Any = None
requester: Any = EchoRequester()
app = create_app(
    routes=configured.routes,
    requester=requester,
    idempotency=Idempotency(nothing, requester, ttl_s=60),
    admission=Admission(settings.max_in_flight),
    breakers=Breakers({route.topic: settings.reply_timeout_s for route in configured.routes}),
    store=nothing,
    cancellations=nothing,
    ids=ids,
    readiness=Readiness((), lifecycle.draining),
    lifecycle=lifecycle,
    reply_topic="replies",
    reply_timeout_s=settings.reply_timeout_s,
    max_body_bytes=settings.max_body_bytes,
    rates=RateLimiter(FakeRedis(), ids.deployment),
    keyring=configured.keyring,
)
