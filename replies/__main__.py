"""Entry point of `replies`: settings, then clients, then carry replies until told to stop."""

import logging
from typing import Any

from kafka import KafkaConsumer
from redis import Redis

from rendezvous.correlation import CorrelationIds
from rendezvous.errors import StoreUnavailable
from rendezvous.kafka_client.connect import wait_until
from rendezvous.kafka_client.consumer import ResilientConsumer, consumer_options
from rendezvous.kafka_client.patches.direct_consumer import poll_in_caller_thread
from rendezvous.process.startup import begin, exit_now, freeze_loaded_objects
from rendezvous.process.watchdog import Watchdog
from rendezvous.redis_store.client import eviction_policy, open_redis, ping
from rendezvous.redis_store.heartbeats import ReplyPathHeartbeats
from rendezvous.redis_store.replies import ReplyStore
from replies.broadcast import BroadcastConsumer
from replies.listener import ReplyListener
from settings import MAX_REPLY_TIMEOUT_S, Settings

logger = logging.getLogger("replies")


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings, stop = begin()
    topic = settings.prefixed(settings.reply_topic)
    watchdog = Watchdog("the loop that carries replies", end=exit_now)
    watchdog.start()
    consumer = wait_until(lambda: _consumer(settings, topic), settings, stop, watchdog.beat)
    if consumer is None:
        return
    redis = open_redis(settings.redis_url, tls_verify=settings.redis_tls_verify)
    store = ReplyStore(redis, settings.reply_retention_s)
    logger.info(
        "carrying replies from topic %s to %s (REPLIES_MODE=%s)",
        topic,
        settings.masked_redis_url(),
        settings.replies_mode,
    )
    _warn_about(redis)
    freeze_loaded_objects()
    try:
        ids = CorrelationIds(settings.secret_key)
        ReplyListener(consumer, store, ids, watchdog, ReplyPathHeartbeats(redis, topic)).run(stop)
    finally:
        watchdog.stop()
        redis.close()
    logger.info("stopped")


def _warn_about(redis: Redis) -> None:
    try:
        ping(redis)
    except StoreUnavailable as error:
        logger.warning("%s. Replies wait in Kafka until then", error)
        return  # its policy cannot be asked either
    policy = eviction_policy(redis)
    if policy is not None:
        logger.warning(
            "Redis has maxmemory-policy %s, which drops unread replies: set noeviction", policy
        )


def _consumer(settings: Settings, topic: str) -> ResilientConsumer:
    broadcast = settings.replies_mode == "broadcast"
    options = consumer_options(
        settings.kafka_connection(),
        None if broadcast else settings.prefixed(settings.replies_group),
        settings.kafka_fetch_max_wait_ms,
        "rendezvous-replies",
    )

    def new_consumer() -> Any:
        return poll_in_caller_thread(KafkaConsumer(**options))

    if broadcast:
        # What was replied while no replica ran can still be asked for this long; some route, of
        # which nothing is known here, may wait for the longest.
        lookback_s = MAX_REPLY_TIMEOUT_S + settings.reply_retention_s
        return BroadcastConsumer.open_all(topic, new_consumer, lookback_s)
    return ResilientConsumer.open([topic], new_consumer)


if __name__ == "__main__":
    main()
