"""Entry point of `replies`: settings, then clients, then carry replies until told to stop."""

import logging
import signal
import sys
import threading

from kafka import KafkaConsumer

from logs import configure_logs
from preflight import wait_until
from replies.broadcast import BroadcastConsumer
from replies.consuming import ResilientConsumer, consumer_options
from replies.correlation import CorrelationIds
from replies.listener import ReplyListener
from replies.store import ReplyStore
from replies.watchdog import Watchdog
from settings import Settings, SettingsError

logger = logging.getLogger("replies")


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    try:
        settings = Settings.from_env()
    except SettingsError as error:
        sys.exit(str(error))
    configure_logs(settings.log_format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    topic = settings.prefixed(settings.reply_topic)
    consumer = wait_until(lambda: _consumer(settings, topic), settings, stop)
    if consumer is None:
        return
    store = ReplyStore.connect(settings.redis_url, settings.reply_retention_s)
    watchdog = Watchdog("the loop that carries replies")
    watchdog.start()
    logger.info(
        "carrying replies from topic %s to %s (REPLIES_MODE=%s)",
        topic,
        settings.masked_redis_url(),
        settings.replies_mode,
    )
    try:
        listener = ReplyListener(consumer, store, CorrelationIds(settings.secret_key), watchdog)
        listener.run(stop)
    finally:
        watchdog.stop()
        store.close()
    logger.info("stopped")


def _consumer(settings: Settings, topic: str) -> ResilientConsumer:
    broadcast = settings.replies_mode == "broadcast"
    options = consumer_options(
        settings.kafka_connection(),
        None if broadcast else settings.prefixed(settings.replies_group),
        settings.kafka_fetch_max_wait_ms,
        "rendezvous-replies",
    )
    if broadcast:
        # What was replied while no replica ran can still be asked for this long.
        lookback_s = settings.reply_timeout_s + settings.reply_retention_s
        return BroadcastConsumer.open_all(topic, lambda: KafkaConsumer(**options), lookback_s)
    return ResilientConsumer.open([topic], lambda: KafkaConsumer(**options))


if __name__ == "__main__":
    main()
