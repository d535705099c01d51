"""Entry point of `web`: settings, then clients, then the application."""

import atexit
import sys

from gateway import config as configuration
from gateway.clients.admission import Admission
from gateway.clients.rates import RateLimiter
from gateway.exchange.breaker import Breakers
from gateway.exchange.claims import Claims
from gateway.exchange.idempotency import Idempotency
from gateway.exchange.mailbox import POLLER_LIMIT_S, Mailbox
from gateway.exchange.publisher import RequestPublisher
from gateway.exchange.requester import Requester
from gateway.health.readiness import Readiness
from gateway.health.reply_path import ReplyPathHealth
from gateway.lifecycle import Lifecycle
from gateway.routing.table import reply_timeouts_by_topic
from gateway.web.app import create_app
from rendezvous.correlation import CorrelationIds
from rendezvous.kafka_client.connect import kafka_problem
from rendezvous.process.logs import configure_logs
from rendezvous.process.startup import exit_now
from rendezvous.process.stdio import make_output_nonblocking
from rendezvous.process.watchdog import Watchdog
from rendezvous.redis_store.cancellations import Cancellations
from rendezvous.redis_store.client import open_redis
from rendezvous.redis_store.heartbeats import ReplyPathHeartbeats
from rendezvous.redis_store.notifications import Notifications
from rendezvous.redis_store.replies import ReplyStore

make_output_nonblocking()
try:
    configured = configuration.current()
except configuration.ConfigurationError as error:
    sys.exit(str(error))
settings, routes = configured.settings, configured.routes

configure_logs(settings.log_format)
ids = CorrelationIds(settings.secret_key)
redis = open_redis(
    settings.redis_url,
    tls_verify=settings.redis_tls_verify,
    max_connections=settings.threads + 12,
)
store = ReplyStore(redis, settings.reply_retention_s)
mailbox = Mailbox(
    store,
    Watchdog("the reply poller", POLLER_LIMIT_S, exit_now),
    subscribe=lambda node: Notifications(redis, node),
)
waits_s = reply_timeouts_by_topic(routes, settings.reply_timeout_s)
request_topics = list(waits_s)
publisher = RequestPublisher(
    settings.kafka_connection(),
    settings.reply_timeout_s,
    settings.max_body_bytes,
    request_topics,
    find_problem=lambda: kafka_problem(settings),
    linger_ms=mailbox.linger_ms,
)
reply_topic = settings.prefixed(settings.reply_topic)
lifecycle = Lifecycle()
reply_path_health = ReplyPathHealth(
    mailbox,
    ReplyPathHeartbeats(redis, reply_topic),
    max(waits_s.values()),  # replies that are later than that come too late for every route
    settings.reply_retention_s,
)
readiness = Readiness.of(publisher, request_topics, reply_path_health, lifecycle.draining)
lifecycle.add(mailbox, publisher, readiness)
requester = Requester(ids, mailbox, publisher, settings.reply_timeout_status)
app = create_app(
    routes=routes,
    requester=requester,
    idempotency=Idempotency(Claims(redis, ids.deployment), requester, settings.idempotency_ttl_s),
    admission=Admission(settings.max_in_flight),
    breakers=Breakers(waits_s, max_in_flight=settings.max_in_flight),
    store=store,
    cancellations=Cancellations(redis),
    ids=ids,
    readiness=readiness,
    lifecycle=lifecycle,
    reply_topic=reply_topic,
    reply_timeout_s=settings.reply_timeout_s,
    max_body_bytes=settings.max_body_bytes,
    cors_origins=settings.allowed_origins(),
    rates=RateLimiter(redis, ids.deployment),
    keyring=configured.keyring,
)
atexit.register(lifecycle.close)
