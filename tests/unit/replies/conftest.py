"""A running listener, its consumer and its records."""

import threading

import pytest
from kafka import TopicPartition

from rendezvous.kafka_client.consuming.consumer import ResilientConsumer
from rendezvous.process.watchdog import Watchdog
from rendezvous.redis_store.heartbeats import ReplyPathHeartbeats
from replies.listener import ReplyListener
from tests.fakes import FakeConsumer, FakeRecord

MAX_REPLY_BYTES = 10_000
P0, P1 = TopicPartition("replies", 0), TopicPartition("replies", 1)


class Running:
    """A listener on a thread."""

    def __init__(self, kafka, store, ids, heartbeats, **options):
        self.kafka = kafka
        self.listener = ReplyListener(
            ResilientConsumer(kafka),
            store,
            ids,
            Watchdog("the test"),
            heartbeats,
            max_reply_bytes=MAX_REPLY_BYTES,
            **options,
        )
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.listener.run, args=(self.stop,))
        self.thread.start()

    @property
    def counts(self):
        return self.listener.counts

    def end(self):
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def heartbeats(redis):
    return ReplyPathHeartbeats(redis, "replies", ("aa",))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("replies.listener.STORE_PAUSE_S", 0.005)
    monkeypatch.setattr("replies.listener.COMMIT_INTERVAL_S", 0.0)


@pytest.fixture
def kafka():
    return FakeConsumer(P0)


@pytest.fixture
def running(kafka, store, ids, heartbeats):
    found = Running(kafka, store, ids, heartbeats)
    yield found
    found.end()


def record(cid, offset=0, value=b"body", partition=0, timestamp_ms=0, **headers):
    named = [(name, text.encode()) for name, text in headers.items()]
    return FakeRecord(
        value,
        [("correlation-id", cid.text.encode()), *named],
        offset,
        partition=partition,
        timestamp=timestamp_ms,
    )
