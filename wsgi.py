"""Entry point of `web`: settings, then clients, then the application."""

import atexit
import sys

import configuration
from gateway import create_app
from gateway.admission import Admission
from gateway.breaker import Breakers
from gateway.claims import Claims
from gateway.lifecycle import Lifecycle
from gateway.mailbox import POLLER_LIMIT_S, Mailbox
from gateway.once import Once
from gateway.publisher import RequestPublisher
from gateway.rates import Rates
from gateway.readiness import Readiness
from gateway.requester import Requester
from gateway.route_table import waits_by_topic
from gateway.tally import Tally
from gateway.way_back import WayBack
from logs import configure_logs
from output import unblock
from preflight import kafka_trouble
from replies.correlation import CorrelationIds
from replies.reply_path import ReplyPath
from replies.store import ReplyStore, open_redis
from replies.watchdog import Watchdog
from startup import end_at_once

unblock()
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
mailbox = Mailbox(store, Watchdog("the reply poller", POLLER_LIMIT_S, end_at_once), with_hints=True)
waits_s = waits_by_topic(routes, settings.reply_timeout_s)
request_topics = list(waits_s)
publisher = RequestPublisher(
    settings.kafka_connection(),
    settings.reply_timeout_s,
    settings.max_body_bytes,
    request_topics,
    trouble=lambda: kafka_trouble(settings),
    linger_ms=mailbox.linger_ms,
)
reply_topic = settings.prefixed(settings.reply_topic)
lifecycle = Lifecycle()
way_back = WayBack(
    mailbox,
    ReplyPath(store, reply_topic),
    max(waits_s.values()),  # replies that are later than that come too late for every route
    settings.reply_retention_s,
)
readiness = Readiness.of(publisher, request_topics, way_back, lifecycle.draining)
lifecycle.add(mailbox, publisher, readiness)
requester = Requester(ids, mailbox, publisher, settings.reply_timeout_status)
app = create_app(
    routes=routes,
    requester=requester,
    once=Once(Claims(redis, ids.deployment), requester, settings.idempotency_ttl_s),
    admission=Admission(settings.max_in_flight),
    breakers=Breakers(waits_s, max_in_flight=settings.max_in_flight),
    store=store,
    ids=ids,
    readiness=readiness,
    lifecycle=lifecycle,
    reply_topic=reply_topic,
    reply_timeout_s=settings.reply_timeout_s,
    max_body_bytes=settings.max_body_bytes,
    cors_origins=settings.allowed_origins(),
    rates=Rates(Tally(redis, ids.deployment)),
    keyring=configured.keyring,
)
atexit.register(lifecycle.close)
