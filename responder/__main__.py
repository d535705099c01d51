"""Entry point of `responder`: settings, then clients, then answer requests until told to stop."""

import logging
import signal
import sys
import threading
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

import responder.handlers  # noqa: F401  # its functions register themselves
from logs import configure_logs
from preflight import wait_until
from replies.consuming import ResilientConsumer, consumer_options
from replies.watchdog import Watchdog
from responder.registry import registered
from responder.worker import ResponderWorker
from settings import Settings, SettingsError

logger = logging.getLogger("responder")


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    try:
        settings = Settings.from_env(needs=("KAFKA_URL",))
    except SettingsError as error:
        sys.exit(str(error))
    configure_logs(settings.log_format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    handlers = registered(settings.kafka_prefix)
    options = consumer_options(
        settings.kafka_connection(),
        settings.prefixed(settings.responder_group),
        settings.kafka_fetch_max_wait_ms,
        "rendezvous-responder",
    )
    consumer = wait_until(
        lambda: ResilientConsumer.open(list(handlers), lambda: KafkaConsumer(**options)),
        settings,
        stop,
    )
    if consumer is None:
        return
    producer = wait_until(lambda: _producer(settings.kafka_connection()), settings, stop)
    if producer is None:
        consumer.close()
        return
    watchdog = Watchdog("the loop that takes requests")
    watchdog.start()
    logger.info("answering topics %s", ", ".join(handlers))
    try:
        ResponderWorker(consumer, producer, handlers, settings.responder_threads, watchdog).run(
            stop
        )
    finally:
        watchdog.stop()
        producer.close(timeout=5)
    logger.info("stopped")


def _producer(connection: dict[str, Any]) -> Any:
    try:
        return KafkaProducer(
            **connection,
            client_id="rendezvous-responder",
            bootstrap_timeout_ms=5_000,
            request_timeout_ms=5_000,
            delivery_timeout_ms=10_000,
            max_block_ms=5_000,
            reconnect_backoff_max_ms=1_000,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
    except KafkaError as error:
        raise ConnectionError(str(error)) from error


if __name__ == "__main__":
    main()
