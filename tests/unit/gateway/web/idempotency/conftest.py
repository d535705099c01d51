"""Two replicas of a gateway."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.exchange.breaker.topic_breaker import Breakers
from gateway.exchange.waiting.mailbox import Mailbox
from gateway.exchange.waiting.poller import Poller
from rendezvous.contract import Reply
from tests.fakes import FakePublisher
from tests.unit.apps import new_app
from tests.unit.gateway.web.idempotency.replicas import (
    PATIENT_S,
    ROUTES,
    TTL_S,
    FailingClaims,
    Gateway,
)


@pytest.fixture
def new_gateway(ids, store, redis):
    pollers = []

    def build():
        mailbox = Mailbox()
        poller = Poller(store, mailbox)
        poller.start()
        pollers.append(poller)
        publisher = FakePublisher(store, ids)
        breakers = Breakers({route.topic: route.timeout_s or PATIENT_S for route in ROUTES})
        claims = FailingClaims(redis, ids.deployment)
        app = new_app(
            ROUTES,
            poller,
            publisher,
            redis,
            reply_timeout_s=PATIENT_S,
            max_in_flight=50,
            idempotency_ttl_s=TTL_S,
            parts={"claims": claims, "breakers": breakers},
        )
        return Gateway(app, publisher, mailbox, breakers, claims)

    yield build
    for poller in pollers:
        poller.close()


@pytest.fixture
def gateway(new_gateway):
    return new_gateway()


@pytest.fixture
def other(new_gateway):
    """Another replica."""
    return new_gateway()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as clients:
        yield clients


@pytest.fixture
def reply_to(store, ids):
    """Store the reply to a request."""

    def store_reply(request, body=b"done", status=201):
        reply = Reply.to(request, body, status=status, content_type="text/plain")
        store.put_many([(ids.read(request.correlation_id), reply)])

    return store_reply
