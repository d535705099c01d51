"""Composition root: builds the objects of a gateway and connects them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from flask import Flask
from redis import Redis

from gateway.clients.admission import Admission
from gateway.clients.api_keys import ApiKeys
from gateway.clients.client import Rate
from gateway.clients.credentials import Credentials
from gateway.clients.rates import RateLimiter
from gateway.exchange.breaker.topic_breaker import Breakers
from gateway.exchange.claims import Claims, claims_of
from gateway.exchange.exchange import Exchange
from gateway.exchange.idempotency import Idempotency, KeptRepliesLimits
from gateway.exchange.publisher import RequestPublisher
from gateway.exchange.requester import Requester
from gateway.exchange.waiting import partition_reader, poller
from gateway.exchange.waiting.mailbox import Mailbox
from gateway.exchange.waiting.partition_reader import PartitionReader
from gateway.exchange.waiting.poller import NoStoredReplies, Poller
from gateway.exchange.waiting.straight_replies import StraightReplies
from gateway.health.partition_spread import PartitionSpread
from gateway.health.readiness import Readiness
from gateway.health.reply_path import ReplyPathHealth
from gateway.lifecycle import Lifecycle, Part
from gateway.live.figures import LiveFigures
from gateway.live.own_state import OwnState
from gateway.live.writer import SnapshotWriter
from gateway.routing.table import Route, reply_timeouts_by_topic
from gateway.web.app import create_app
from rendezvous.correlation import CorrelationIds
from rendezvous.kafka_client.connect import kafka_problem
from rendezvous.kafka_client.consuming.opening import consumer_options
from rendezvous.kafka_client.consuming.partition_consumer import PartitionConsumer
from rendezvous.kafka_client.patches.consumer import PatchedConsumer
from rendezvous.kafka_client.producer import RequestProducer
from rendezvous.process.startup import Tracing, exit_now
from rendezvous.process.watchdog import Watchdog
from rendezvous.redis_store.cancellations import Cancellations
from rendezvous.redis_store.connecting.opening import open_redis
from rendezvous.redis_store.gateway_registry import GatewayRegistry
from rendezvous.redis_store.heartbeats import ReplyPathHeartbeats
from rendezvous.redis_store.kept_replies import KeptReplies
from rendezvous.redis_store.replies import ReplyStore
from rendezvous.redis_store.snapshots import Snapshots
from settings import Settings

if TYPE_CHECKING:
    from gateway.clients.tokens.key_source import KeySource

#: Redis connections of a process besides one per thread: poller, reader, checks.
EXTRA_REDIS_CONNECTIONS = 12

P = TypeVar("P", bound=Part)


@dataclass(frozen=True)
class Gateway:
    """A gateway that is not started yet: nothing is connected, no thread runs."""

    app: Flask
    lifecycle: Lifecycle
    publisher: RequestPublisher
    redis: Redis | None  # None without REDIS_URL
    reply_path_health: ReplyPathHealth | None


def build(
    settings: Settings,
    routes: Sequence[Route],
    api_keys: ApiKeys | None,
    *,
    redis: Redis | None = None,
    publisher: RequestPublisher | None = None,
    mailbox: Mailbox | None = None,
    stored: Poller | None = None,
    readiness: Readiness | None = None,
    breakers: Breakers | None = None,
    claims: Claims | None = None,
    rates: RateLimiter | None = None,
) -> Gateway:
    """
    Return the gateway that *settings*, *routes* and *api_keys* describe.

    Its lifecycle starts and closes the parts that are built here. The keyword arguments replace
    parts, for tests, which start and close those themselves. With a *publisher* of theirs no reply
    comes straight from Kafka: they put replies into *redis*.
    """
    lifecycle = Lifecycle()

    def own(part: P) -> P:
        lifecycle.add(part)
        return part

    own(Tracing("rendezvous-gateway"))
    is_direct = settings.reply_delivery == "direct" and publisher is None
    ids = CorrelationIds(settings.secret_key, settings.secret_key_old)
    redis = redis or _open_redis(settings)
    store = None if redis is None else ReplyStore(redis, settings.reply_retention_s)
    mailbox = mailbox or own(Mailbox())
    straight = StraightReplies(mailbox, store, ids, settings.max_reply_bytes)
    if stored is None and store is not None:
        stored = own(_poller(store, mailbox, straight))
    waits_s = reply_timeouts_by_topic(routes, settings.reply_timeout_s)
    request_topics = list(waits_s)
    publisher = publisher or own(
        RequestPublisher(
            settings.kafka_connection(),
            settings.reply_timeout_s,
            settings.max_body_bytes,
            request_topics,
            find_problem=lambda: kafka_problem(settings),
            linger_ms=mailbox.linger_ms,
            open_producer=partial(
                RequestProducer.open, compression=settings.kafka_compression_type()
            ),
        )
    )
    reply_topic = settings.prefixed(settings.reply_topic)
    registry = None if redis is None else GatewayRegistry(redis, reply_topic)
    spread = PartitionSpread(registry, reply_topic, lambda: mailbox.node)
    reader = own(_reader(settings, reply_topic, straight, spread)) if is_direct else None
    reply_path_health = None
    if redis is not None and stored is not None:
        reply_path_health = ReplyPathHealth(
            stored,
            ReplyPathHeartbeats(redis, reply_topic, ids.fingerprints),
            # A reply later than the longest wait is too late for every route.
            max(waits_s.values(), default=settings.reply_timeout_s),
            settings.reply_retention_s,
            reader,
            spread,
        )
    keys = None if not settings.jwt_issuer else own(_token_keys(settings))
    credentials = _credentials(settings, api_keys, keys)
    readiness = readiness or own(
        Readiness.of(
            publisher,
            [*request_topics, reply_topic],
            lifecycle.draining,
            reply_path_health,
            reader,
            needs_redis=reader is None or any(r.idempotency == "required" for r in routes),
            token_keys=keys,
        )
    )
    requester = Requester(
        ids,
        mailbox,
        stored or NoStoredReplies(),
        publisher,
        settings.reply_timeout_status,
        addresses=reader,
    )
    idempotency = None
    if redis is not None:
        claims = claims or claims_of(redis, ids.fingerprints)
        idempotency = _idempotency(settings, redis, ids, requester, claims)
    breakers = breakers or Breakers(waits_s, max_in_flight=settings.max_in_flight)
    live = None
    if settings.live_page:
        snapshots = None if redis is None else Snapshots(redis, reply_topic)
        state = OwnState.of_routes(
            routes,
            mailbox=mailbox,
            readiness=readiness,
            reply_path=reply_path_health,
            reader=reader,
            draining=lifecycle.draining,
        )
        live = LiveFigures(own(SnapshotWriter(state, snapshots)), snapshots, reply_topic)
    app = create_app(
        routes=routes,
        exchange=Exchange(requester, idempotency, breakers),
        requester=requester,
        admission=Admission(settings.max_in_flight),
        store=store,
        cancellations=None if redis is None else Cancellations(redis),
        ids=ids,
        readiness=readiness,
        lifecycle=lifecycle,
        reply_topic=reply_topic,
        reply_timeout_s=settings.reply_timeout_s,
        max_body_bytes=settings.max_body_bytes,
        cors_origins=settings.cors_origins,
        rates=rates or RateLimiter(redis, ids.deployment, needs_redis=reader is None),
        credentials=credentials,
        live=live,
    )
    if credentials is not None:
        lifecycle.admits_body = credentials.admits_body
    return Gateway(app, lifecycle, publisher, redis, reply_path_health)


def _open_redis(settings: Settings) -> Redis | None:
    """Return the client of REDIS_URL, or None without one."""
    if not settings.redis_url:
        return None
    return open_redis(
        settings.redis_url,
        tls_verify=settings.redis_tls_verify,
        max_connections=settings.redis_max_connections
        or settings.threads + EXTRA_REDIS_CONNECTIONS,
        max_idle_s=settings.redis_max_idle_s,
    )


def _token_keys(settings: Settings) -> "KeySource":
    # Not at the top: PyJWT is an optional package.
    from gateway.clients.tokens.key_source import KeySource

    return KeySource(settings.jwt_jwks_url, settings.jwt_algorithms, settings.jwt_jwks_refresh_s)


def _credentials(
    settings: Settings, api_keys: ApiKeys | None, keys: "KeySource | None"
) -> Credentials | None:
    """Return what clients prove their identity with; None if they need not."""
    if keys is None:
        return None if api_keys is None else Credentials(api_keys)
    from gateway.clients.tokens.verifier import TokenRules, TokenVerifier

    rules = TokenRules(
        settings.jwt_issuer,
        settings.jwt_audience,
        settings.jwt_algorithms,
        settings.jwt_client_claim,
        settings.jwt_leeway_s,
        None if settings.jwt_rate is None else Rate(*settings.jwt_rate),
        settings.jwt_in_flight_share,
    )
    return Credentials(api_keys, TokenVerifier(rules, keys))


def _poller(store: ReplyStore, mailbox: Mailbox, straight: StraightReplies) -> Poller:
    return Poller(
        store,
        mailbox,
        Watchdog("the reply poller", poller.LIMIT_S, exit_now),
        comes_straight=straight.come_for,
        on_found=straight.note_detour,
    )


def _idempotency(
    settings: Settings, redis: Redis, ids: CorrelationIds, requester: Requester, claims: Claims
) -> Idempotency:
    limits = KeptRepliesLimits(
        KeptReplies(redis, ids.deployment),
        settings.idempotency_client_max_bytes,
        settings.idempotency_max_bytes,
    )
    return Idempotency(claims, requester, settings.idempotency_ttl_s, limits)


def _reader(
    settings: Settings, topic: str, straight: StraightReplies, spread: PartitionSpread
) -> PartitionReader:
    """Return the reader of the replies that come straight from *topic*."""
    options = consumer_options(
        settings.kafka_connection(), None, settings.kafka_fetch_max_wait_ms, "rendezvous-gateway"
    )
    new_consumer = partial(PatchedConsumer, max_value_bytes=settings.max_reply_bytes, **options)
    find_problem = partial(kafka_problem, settings)

    def open_consumer(choose: Callable[[int], int]) -> PartitionConsumer:
        problem = find_problem()
        if problem is not None:
            raise ConnectionError(problem)
        return PartitionConsumer.open_one(topic, new_consumer, choose, find_problem)

    watchdog = Watchdog("the reader of replies", partition_reader.LIMIT_S, exit_now)
    return PartitionReader(open_consumer, straight, spread, watchdog)
