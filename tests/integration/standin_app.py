"""The application of wsgi.py, with an echo in place of Kafka and Redis."""

import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from fakeredis import FakeRedis

from gateway import config as configuration
from gateway.bootstrap import Gateway, build
from gateway.exchange.publisher import Publication
from gateway.health.readiness import Readiness
from gateway.lifecycle import register
from rendezvous.contract import Reply, Request
from rendezvous.correlation import CorrelationIds
from rendezvous.kafka_client.producer import PublishRefused
from rendezvous.process.logs import configure_logs
from rendezvous.redis_store.replies import ReplyStore


class EchoPublisher:
    """Stores the request's body as its reply, after the ``delay_s`` of the query."""

    def __init__(self, store: ReplyStore, ids: CorrelationIds) -> None:
        self._store = store
        self._ids = ids

    def await_broker(self, timeout_s: float) -> None:
        """Return at once."""

    def publish(
        self, request: Request, timeout_s: float, on_refused: Callable[[PublishRefused], None]
    ) -> Publication:
        publication = Publication()
        publication.settle(acknowledged=True)
        replies = [(self._ids.read(request.correlation_id), Reply.to(request, request.body))]
        delay_s = float(parse_qs(request.query).get("delay_s", ["0"])[0])
        if delay_s:
            threading.Timer(delay_s, self._store.put_many, [replies]).start()
        else:
            self._store.put_many(replies)
        return publication


configured = configuration.current()
settings = configured.settings
configure_logs(settings.log_format)
redis = FakeRedis()
store = ReplyStore(redis, settings.reply_retention_s)
publisher: Any = EchoPublisher(store, CorrelationIds(settings.secret_key))
gateway: Gateway = build(
    settings,
    configured.routes,
    configured.api_keys,
    redis=redis,
    publisher=publisher,
    readiness=Readiness((), lambda: gateway.lifecycle.draining()),
)
register(gateway.lifecycle)
app = gateway.app
