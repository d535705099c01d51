"""A responder with fake Kafka clients, in a thread of its own."""

import threading

import pytest
from kafka import TopicPartition

from rendezvous.contract import Reply, Request
from rendezvous.correlation import epoch_ms
from rendezvous.kafka_client.consuming.consumer import ResilientConsumer
from rendezvous.process.counts import OutcomeCounts
from rendezvous.process.watchdog import Watchdog
from responder.publishing.dead_letters import DeadLetters
from responder.publishing.replies import ReplyPublisher
from responder.request_processor import RequestProcessor
from responder.worker import ResponderWorker
from tests.fakes import FakeConsumer, FakeProducer, FakeRecord

P0, P1 = TopicPartition("orders", 0), TopicPartition("orders", 1)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("responder.worker.COMMIT_INTERVAL_S", 0.0)
    monkeypatch.setattr("responder.worker.FINISH_S", 0.5)
    monkeypatch.setattr("responder.publishing.publisher.RETRY_PAUSE_S", 0.005)
    monkeypatch.setattr("responder.dedup.coordinator.JOURNAL_PAUSE_S", 0.005)


class Running:
    """A running worker."""

    def __init__(
        self, handler, producer, threads, journal, cancelled, dlq_topic, max_attempts, reader
    ):
        self.kafka = FakeConsumer(P0, P1)
        self.producer = producer
        self.watchdog = Watchdog("the test")
        self._counts = OutcomeCounts()
        publisher = ReplyPublisher(producer, 0, self._counts)
        publisher.start()
        dead_letters = None
        if dlq_topic:
            dead_letters = DeadLetters(producer, dlq_topic, self._counts, publisher)
            dead_letters.start()
        self.processor = RequestProcessor(
            {"orders": handler},
            publisher,
            self._counts,
            journal,
            cancelled,
            dead_letters,
            max_attempts,
            reader,
        )
        consumer = ResilientConsumer.open(["orders"], lambda: self.kafka)
        worker = ResponderWorker(consumer, self.processor, self._counts, threads, self.watchdog)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=worker.run, args=(self.stop,))
        self.thread.start()

    @property
    def counts(self):
        return self._counts.snapshot()

    def feed(self, *records):
        self.kafka.feed(*records)

    def replies(self):
        """Return the replies by correlation id."""
        return {sent.header("correlation-id"): sent for sent in self._sent(is_dead=False)}

    def dead_letters(self):
        """Return the dead letters in the order of their publication."""
        return self._sent(is_dead=True)

    def _sent(self, is_dead):
        reason = "dead-letter-reason"
        return [s for s in self.producer.sent if (reason in dict(s.headers)) == is_dead]

    def committed(self, partition=P0):
        return self.kafka.committed_offset(partition)

    def end(self):
        self.stop.set()
        self.thread.join(15)
        assert not self.thread.is_alive()


@pytest.fixture
def run():
    """Start a worker whose only topic is "orders"."""
    started = []

    def start(
        handler=Reply.to,
        producer=None,
        threads=4,
        journal=None,
        cancelled=(),
        dlq_topic="",
        max_attempts=1,
        reader=None,
    ):
        started.append(
            Running(
                handler,
                producer or FakeProducer(),
                threads,
                journal,
                cancelled,
                dlq_topic,
                max_attempts,
                reader,
            )
        )
        return started[-1]

    yield start
    for running in started:
        running.end()


def record(
    correlation_id,
    offset=0,
    key=None,
    due_in_ms=30_000,
    partition=0,
    reply_topic="replies",
    **fields,
):
    request = Request(
        correlation_id, "orders", reply_topic, epoch_ms() + due_in_ms, key=key, **fields
    )
    sent_key, value, headers = request.encode()
    return FakeRecord(value, headers, offset, sent_key, "orders", partition)
