"""Entry point of `replies`: settings, then clients, then carry replies until told to stop."""

import logging
from typing import Any

from kafka import KafkaConsumer

from preflight import wait_until
from replies.broadcast import BroadcastConsumer
from replies.consuming import ResilientConsumer, consumer_options
from replies.correlation import CorrelationIds
from replies.direct_consumer import drive_directly
from replies.errors import StoreUnavailable
from replies.listener import ReplyListener
from replies.reply_path import ReplyPath
from replies.store import ReplyStore
from replies.watchdog import Watchdog
from settings import MAX_REPLY_TIMEOUT_S, Settings
from startup import begin, end_at_once, spare_what_is_loaded

logger = logging.getLogger("replies")


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings, stop = begin()
    topic = settings.prefixed(settings.reply_topic)
    watchdog = Watchdog("the loop that carries replies", end=end_at_once)
    watchdog.start()
    consumer = wait_until(lambda: _consumer(settings, topic), settings, stop, watchdog.beat)
    if consumer is None:
        return
    store = ReplyStore.connect(
        settings.redis_url, settings.reply_retention_s, tls_verify=settings.redis_tls_verify
    )
    logger.info(
        "carrying replies from topic %s to %s (REPLIES_MODE=%s)",
        topic,
        settings.masked_redis_url(),
        settings.replies_mode,
    )
    _warn_about(store)
    spare_what_is_loaded()
    try:
        ids = CorrelationIds(settings.secret_key)
        ReplyListener(consumer, store, ids, watchdog, ReplyPath(store, topic)).run(stop)
    finally:
        watchdog.stop()
        store.close()
    logger.info("stopped")


def _warn_about(store: ReplyStore) -> None:
    try:
        store.ping()
    except StoreUnavailable as error:
        logger.warning("%s. Replies wait in Kafka until then", error)
        return  # its policy cannot be asked either
    policy = store.evicting_policy()
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
        return drive_directly(KafkaConsumer(**options))

    if broadcast:
        # What was replied while no replica ran can still be asked for this long; some route, of
        # which nothing is known here, may wait for the longest.
        lookback_s = MAX_REPLY_TIMEOUT_S + settings.reply_retention_s
        return BroadcastConsumer.open_all(topic, new_consumer, lookback_s)
    return ResilientConsumer.open([topic], new_consumer)


if __name__ == "__main__":
    main()
