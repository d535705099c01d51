"""A publisher whose clients are fakes."""

from collections import deque

import pytest

from gateway.exchange.publisher import RequestPublisher
from rendezvous.contract import Request
from rendezvous.kafka_client.producer import RequestProducer
from rendezvous.kafka_client.topics import TopicLookup
from tests.fakes import FakeAdmin, FakeProducer, eventually

REQUEST = Request("the-id", "orders", "replies", 1_700_000_000_000, b"body")


class Brokers:
    """Builds the Kafka clients of one publisher."""

    def __init__(self):
        self.problem: str | Exception | None = None
        self.producers = []
        self.next_producers: deque[FakeProducer | Exception] = deque()
        self.admin = FakeAdmin(["orders", "replies"])

    def find_problem(self):
        if isinstance(self.problem, Exception):
            raise self.problem
        return self.problem

    def open_producer(self, *args):
        found = self.next_producers.popleft() if self.next_producers else FakeProducer()
        if isinstance(found, Exception):
            raise found
        self.producers.append(found)
        return RequestProducer(found)

    def new_lookup(self, connection, find_problem):
        return TopicLookup(connection, find_problem, lambda **options: self.admin)


@pytest.fixture(autouse=True)
def short_connect_pause(monkeypatch):
    monkeypatch.setattr("gateway.exchange.publisher.CONNECT_PAUSE_S", 0.01)


@pytest.fixture
def brokers():
    return Brokers()


@pytest.fixture
def new_publisher(brokers):
    built = []

    def build(start=True, topics=("orders",)):
        publisher = RequestPublisher(
            {"bootstrap_servers": ["b:1"]},
            3.0,
            900_000,
            topics,
            find_problem=brokers.find_problem,
            open_producer=brokers.open_producer,
            new_lookup=brokers.new_lookup,
        )
        built.append(publisher)
        if start:
            publisher.start()
        return publisher

    yield build
    for publisher in built:
        publisher.close()


def never(refused):
    raise AssertionError(f"reported as refused: {refused}")


def connected(publisher):
    eventually(publisher._connected.is_set)
    return publisher
