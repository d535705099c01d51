"""
Entry point of `responder`: builds the clients and runs the worker.

    python -m responder [--handlers MODULE[,MODULE...]]
"""

import argparse
import logging
import os
import sys
from collections.abc import Container, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError
from redis import Redis

from rendezvous.kafka_client.connect import connect_with_retries, kafka_problem
from rendezvous.kafka_client.consuming.consumer import ResilientConsumer
from rendezvous.kafka_client.consuming.opening import consumer_options
from rendezvous.kafka_client.patches.consumer import PatchedConsumer
from rendezvous.kafka_client.patches.prompt_client import prompt_client
from rendezvous.process.counts import OutcomeCounts
from rendezvous.process.monitoring.health import ProcessHealth
from rendezvous.process.monitoring.management import serve_process
from rendezvous.process.monitoring.push import start_push
from rendezvous.process.startup import Tracing, exit_now, freeze_loaded_objects, start_process
from rendezvous.process.watchdog import Watchdog
from rendezvous.redis_store.cancellations import Cancellations
from rendezvous.redis_store.connecting.opening import open_redis
from rendezvous.redis_store.process_state import ProcessState, StateWriter
from rendezvous.redis_store.snapshots import Snapshots
from responder.cancelled import CancelledRequests
from responder.dedup.redis_journal import RedisJournal
from responder.publishing.dead_letters import DeadLetters
from responder.publishing.replies import ReplyPublisher
from responder.reading.reply_topics import ReplyTopics
from responder.reading.request_reader import RequestReader
from responder.registry import HandlersNotLoaded, load_handlers, registered
from responder.request_processor import RequestProcessor
from responder.worker import ResponderWorker
from settings import Settings

logger = logging.getLogger("responder")

_MISSING_DLQ_TOPIC = (
    "create it, or correct RESPONDER_DLQ_TOPIC or KAFKA_PREFIX; if it exists, grant Describe and "
    "Write on it"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT."""
    _read_options(arguments)
    settings, stop = start_process(required=("KAFKA_URL",))
    try:
        load_handlers(settings.responder_handlers)
    except HandlersNotLoaded as error:
        sys.exit(f"RESPONDER_HANDLERS: {error}")
    handlers = registered(settings.kafka_prefix)
    dlq_topic = settings.responder_dlq_topic
    if dlq_topic and settings.prefixed(dlq_topic) in handlers:
        sys.exit(
            f"RESPONDER_DLQ_TOPIC={dlq_topic}: a handler reads that topic, and "
            "would get its own failures; choose another topic"
        )
    watchdog = Watchdog("the loop that takes requests", end=exit_now)
    watchdog.start()
    health = ProcessHealth(watchdog)
    serve_process(settings.metrics_port, health)
    push_last = start_push("rendezvous-responder", os.environ)
    clients = connect_with_retries(
        lambda: _clients(settings, list(handlers)), settings, stop, watchdog.reset
    )
    if clients is None:
        return
    consumer, producer = clients
    logger.info("answering topics %s", ", ".join(handlers))
    spans = Tracing("rendezvous-responder")
    spans.start()
    freeze_loaded_objects()
    with ExitStack() as closing:
        closing.callback(spans.close)
        closing.callback(push_last)
        # The worker has waited for its acknowledgements: what is left has been given up.
        closing.callback(producer.close, timeout=1)
        closing.callback(watchdog.stop)
        redis = _redis(settings, closing)
        journal, cancelled = _journal_and_cancelled(settings, redis, closing)
        counts = OutcomeCounts()
        publisher = ReplyPublisher(producer, settings.reply_retention_s, counts)
        publisher.start()
        dead_letters = _dead_letters(settings, producer, counts, publisher)
        processor = RequestProcessor(
            handlers,
            publisher,
            counts,
            journal,
            cancelled,
            dead_letters,
            settings.responder_max_attempts,
            RequestReader(_reply_topics(settings), settings.responder_deadline_s),
        )
        if redis is not None and settings.live_page:
            _show_state(settings, redis, list(handlers), health, closing)
        threads = settings.responder_threads
        ResponderWorker(consumer, processor, counts, threads, watchdog, health).run(stop)
    logger.info("stopped")


def _read_options(arguments: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(
        "python -m responder",
        description="Answer requests with the handlers of modules that the environment or "
        "--handlers names.",
        epilog="It needs KAFKA_URL, as the gateway has it; all variables are in "
        "docs/reference/settings.md.",
    )
    parser.add_argument(
        "--handlers",
        metavar="MODULE[,MODULE...]",
        help="modules that register handlers; in place of RESPONDER_HANDLERS",
    )
    named = parser.parse_args(arguments).handlers
    if named is not None:
        os.environ["RESPONDER_HANDLERS"] = named  # so that it is checked with the other settings


def _dead_letters(
    settings: Settings, producer: Any, counts: OutcomeCounts, replies: ReplyPublisher
) -> DeadLetters | None:
    """Return the publisher of dead letters, started; None without RESPONDER_DLQ_TOPIC."""
    if not settings.responder_dlq_topic:
        return None
    topic = settings.prefixed(settings.responder_dlq_topic)
    dead_letters = DeadLetters(producer, topic, counts, replies)
    dead_letters.start()
    logger.info("dead-lettering to topic %s", topic)
    return dead_letters


def _reply_topics(settings: Settings) -> ReplyTopics:
    # Those of other requesters are named as a whole: KAFKA_PREFIX is ours.
    own = settings.prefixed(settings.reply_topic)
    return ReplyTopics([own, *settings.responder_reply_topics])


def _redis(settings: Settings, closing: ExitStack) -> Redis | None:
    """Return the client of REDIS_URL, or None without one."""
    if not settings.redis_url:
        return None
    redis = open_redis(
        settings.redis_url,
        tls_verify=settings.redis_tls_verify,
        # One for each handler, one to renew their claims, one to poll for cancelled requests, and
        # one for the live page.
        max_connections=settings.redis_max_connections or settings.responder_threads + 3,
        max_idle_s=settings.redis_max_idle_s,
    )
    closing.callback(redis.close)
    return redis


def _show_state(
    settings: Settings,
    redis: Redis,
    topics: list[str],
    health: ProcessHealth,
    closing: ExitStack,
) -> None:
    """Show this process on the live page."""
    snapshots = Snapshots(redis, settings.prefixed(settings.reply_topic))
    state = ProcessState(snapshots, "responder", {"topics": topics})
    writer = StateWriter(state, lambda: {"problems": health.unready()})
    writer.start()
    closing.callback(writer.close)


def _journal_and_cancelled(
    settings: Settings, redis: Redis | None, closing: ExitStack
) -> tuple[RedisJournal | None, Container[str]]:
    """Return the journal, if any, and the cancelled requests; without REDIS_URL neither."""
    if redis is None:
        return None, ()
    cancelled = CancelledRequests(Cancellations(redis))
    cancelled.start()
    closing.callback(cancelled.close)
    if settings.responder_journal == "off":
        return None, cancelled
    journal = RedisJournal(
        redis, settings.prefixed(settings.responder_group), settings.responder_journal_ttl_s
    )
    journal.start()
    closing.callback(journal.close)
    return journal, cancelled


def _clients(settings: Settings, topics: list[str]) -> tuple[ResilientConsumer, Any]:
    connection = settings.kafka_connection()
    options = consumer_options(
        connection,
        settings.prefixed(settings.responder_group),
        settings.kafka_fetch_max_wait_ms,
        "rendezvous-responder",
    )
    try:
        producer = KafkaProducer(
            **connection,
            compression_type=settings.kafka_compression_type(),
            client_id="rendezvous-responder",
            # An idempotent producer is unusable after a broker lost its state or refused a record.
            # A duplicate reply is harmless: the first one wins.
            enable_idempotence=False,
            bootstrap_timeout_ms=5_000,
            request_timeout_ms=5_000,
            delivery_timeout_ms=10_000,
            max_block_ms=5_000,
            reconnect_backoff_max_ms=1_000,
            allow_auto_create_topics=False,
            metrics_enabled=False,
            kafka_client=prompt_client,
        )
    except KafkaError as error:
        raise ConnectionError(str(error)) from error
    try:
        _find_dead_letter_topic(settings, producer)
        consumer = ResilientConsumer.open(
            topics, partial(PatchedConsumer, **options), partial(kafka_problem, settings)
        )
    except (ConnectionError, LookupError):
        producer.close(timeout=1)
        raise
    return consumer, producer


def _find_dead_letter_topic(settings: Settings, producer: Any) -> None:
    """Raise LookupError when RESPONDER_DLQ_TOPIC is set and that topic is missing."""
    if settings.responder_dlq_topic:
        topic = settings.prefixed(settings.responder_dlq_topic)
        try:
            producer.partitions_for(topic)
        except KafkaError:
            raise LookupError(topic, _MISSING_DLQ_TOPIC) from None


if __name__ == "__main__":
    main()
