"""Entry point of `replies`: settings, then clients, then store replies until SIGTERM."""

import argparse
import logging
import os
from collections.abc import Sequence
from functools import partial

from redis import Redis

from rendezvous.correlation import CorrelationIds
from rendezvous.errors import StoreUnavailable
from rendezvous.kafka_client.connect import connect_with_retries, kafka_problem
from rendezvous.kafka_client.consuming.consumer import ResilientConsumer
from rendezvous.kafka_client.consuming.opening import consumer_options
from rendezvous.kafka_client.patches.consumer import PatchedConsumer
from rendezvous.process.monitoring.health import ProcessHealth
from rendezvous.process.monitoring.management import serve_process
from rendezvous.process.monitoring.push import start_push
from rendezvous.process.startup import Tracing, exit_now, freeze_loaded_objects, start_process
from rendezvous.process.watchdog import Watchdog
from rendezvous.redis_store.client import eviction_policy, ping
from rendezvous.redis_store.connecting.opening import open_redis
from rendezvous.redis_store.heartbeats import ReplyPathHeartbeats
from rendezvous.redis_store.replies import ReplyStore
from rendezvous.redis_store.snapshots import Snapshots
from replies.broadcast import BroadcastConsumer
from replies.listener import ReplyListener
from replies.own_state import OwnState
from settings import MAX_REPLY_TIMEOUT_S, REQUIRED, Settings

logger = logging.getLogger("replies")

#: Redis connections of this process: its loop has one, and it starts no other thread.
REDIS_CONNECTIONS = 1
#: How long a poll is delayed after a batch of several replies, in seconds, by REPLY_DELIVERY: those
#: that came straight from Kafka are in no hurry.
GATHER_S = {"direct": 0.050, "store": 0.005}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT."""
    argparse.ArgumentParser(
        prog="python -m replies",
        description="Store the replies that Kafka delivers in Redis, where gateways find them.",
        epilog="It needs KAFKA_URL, REDIS_URL and SECRET_KEY, as the gateway has them; all "
        "variables are in docs/reference/settings.md.",
    ).parse_args(arguments)
    settings, stop = start_process((*REQUIRED, "REDIS_URL"))
    topic = settings.prefixed(settings.reply_topic)
    watchdog = Watchdog("the loop that stores replies", end=exit_now)
    watchdog.start()
    health = ProcessHealth(watchdog)
    serve_process(settings.metrics_port, health)
    push_last = start_push("rendezvous-replies", os.environ)
    consumer = connect_with_retries(
        lambda: _consumer(settings, topic), settings, stop, watchdog.reset
    )
    if consumer is None:
        return
    redis = open_redis(
        settings.redis_url,
        tls_verify=settings.redis_tls_verify,
        max_connections=settings.redis_max_connections or REDIS_CONNECTIONS,
        max_idle_s=settings.redis_max_idle_s,
    )
    store = ReplyStore(redis, settings.reply_retention_s)
    logger.info(
        "storing replies of topic %s in %s (REPLIES_MODE=%s)",
        topic,
        settings.masked_redis_url(),
        settings.replies_mode,
    )
    _warn_about_redis(redis)
    spans = Tracing("rendezvous-replies")
    spans.start()
    freeze_loaded_objects()
    try:
        ids = CorrelationIds(settings.secret_key, settings.secret_key_old)
        heartbeats = ReplyPathHeartbeats(redis, topic, ids.fingerprints)
        ReplyListener(
            consumer,
            store,
            ids,
            watchdog,
            heartbeats,
            max_reply_bytes=settings.max_reply_bytes,
            gather_s=GATHER_S[settings.reply_delivery],
            health=health,
            own_state=OwnState(Snapshots(redis, topic), settings.replies_mode)
            if settings.live_page
            else None,
        ).run(stop)
    finally:
        watchdog.stop()
        push_last()
        redis.close()
        spans.close()
    logger.info("stopped")


def _warn_about_redis(redis: Redis) -> None:
    try:
        ping(redis)
    except StoreUnavailable as error:
        logger.warning("%s; replies stay in Kafka until Redis answers", error)
        return  # the next command would fail too
    policy = eviction_policy(redis)
    if policy is not None:
        logger.warning(
            "Redis has maxmemory-policy %s, which drops unread replies; set noeviction", policy
        )


def _consumer(settings: Settings, topic: str) -> ResilientConsumer:
    is_broadcast = settings.replies_mode == "broadcast"
    options = consumer_options(
        settings.kafka_connection(),
        None if is_broadcast else settings.prefixed(settings.replies_group),
        settings.kafka_fetch_max_wait_ms,
        "rendezvous-replies",
    )

    new_consumer = partial(PatchedConsumer, max_value_bytes=settings.max_reply_bytes, **options)
    find_problem = partial(kafka_problem, settings)
    if not is_broadcast:
        return ResilientConsumer.open([topic], new_consumer, find_problem)
    # Replies that arrived before the start may still be requested: the longest wait of any route,
    # and the retention after it.
    lookback_s = MAX_REPLY_TIMEOUT_S + settings.reply_retention_s
    return BroadcastConsumer.open_all(topic, new_consumer, lookback_s, find_problem)


if __name__ == "__main__":
    main()
