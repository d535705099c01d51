"""Connections to Kafka and Redis that a load balancer forgets while they are idle."""

import queue
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from redis import Redis

from rendezvous.kafka_client.patches.prompt_client import prompt_client
from rendezvous.kafka_client.producer import RequestProducer
from rendezvous.redis_store.connecting import connection as connection_module
from rendezvous.redis_store.connecting.opening import open_redis
from settings import Settings
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.kafka.embedded import EmbeddedBroker
from tools.devstack.kafka.topics import create_topics
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.tcp_proxy import TcpProxy

pytestmark = pytest.mark.integration

#: Time for which connections are idle, after which they are forgotten, and before which we close
#: them, in seconds.
IDLE_S, FORGOTTEN_S, MAX_IDLE_S = 1.2, 1.0, 0.5
#: Maximum time of a call that finds no forgotten connection, in seconds: less than any timeout.
AT_ONCE_S = 0.2
LIMIT_S = 10.0


@pytest.fixture(scope="module")
def redis_server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def load_balancer(redis_server: EmbeddedRedis) -> Iterator[TcpProxy]:
    with TcpProxy(redis_server.port) as proxy:
        proxy.forget_idle(FORGOTTEN_S)
        yield proxy


def client_behind(proxy: TcpProxy, max_idle_s: float) -> Redis:
    return open_redis(f"redis://{LOOPBACK}:{proxy.port}/0", max_idle_s=max_idle_s)


def test_a_redis_connection_is_reopened_before_it_is_forgotten(
    load_balancer: TcpProxy, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection_module, "ROLE_PAUSE_S", LIMIT_S)  # it asks nothing before
    with closing(client_behind(load_balancer, MAX_IDLE_S)) as redis:
        redis.set("key", "value")
        time.sleep(IDLE_S)
        began_s = time.monotonic()

        assert redis.get("key") == b"value"
        assert time.monotonic() - began_s < AT_ONCE_S


def test_a_redis_connection_that_was_forgotten_costs_time_and_no_error(load_balancer: TcpProxy):
    with closing(client_behind(load_balancer, max_idle_s=LIMIT_S)) as redis:
        redis.set("key", "value")
        time.sleep(IDLE_S)

        assert redis.get("key") == b"value"


@pytest.fixture(scope="module")
def kafka() -> Iterator[dict[str, object]]:
    """The connection arguments for a broker behind a load balancer that forgets."""
    with ExitStack() as stack:
        port = free_port()
        broker = stack.enter_context(EmbeddedBroker(advertised_port=port))
        proxy = stack.enter_context(TcpProxy(broker.port, port))
        settings = Settings(kafka_url=broker.url, kafka_max_idle_s=MAX_IDLE_S)
        create_topics(settings.kafka_connection(), ["t"], 1)
        proxy.forget_idle(FORGOTTEN_S)
        yield settings.kafka_connection()


def test_a_request_producer_sends_at_once_after_an_idle_time(kafka: dict[str, object]):
    ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
    with closing(RequestProducer.open(kafka, 3.0, 1_000, lambda: 0.0)) as producer:
        producer.send("t", b"key", b"before", [], ended.put, is_ordered=True)
        assert ended.get(timeout=LIMIT_S) is None
        time.sleep(IDLE_S)
        began_s = time.monotonic()
        producer.send("t", b"key", b"after", [], ended.put, is_ordered=True)

        assert ended.get(timeout=LIMIT_S) is None
        assert time.monotonic() - began_s < AT_ONCE_S


def test_a_reply_producer_sends_at_once_after_an_idle_time(kafka: dict[str, object]):
    with closing(KafkaProducer(**kafka, kafka_client=prompt_client)) as producer:
        producer.send("t", b"before").get(LIMIT_S)
        time.sleep(IDLE_S)
        began_s = time.monotonic()
        producer.send("t", b"after").get(LIMIT_S)

        assert time.monotonic() - began_s < AT_ONCE_S


def test_an_admin_client_asks_at_once_after_an_idle_time(kafka: dict[str, object]):
    with closing(KafkaAdminClient(**kafka)) as admin:
        assert "t" in admin.list_topics()
        time.sleep(IDLE_S)
        began_s = time.monotonic()

        assert "t" in admin.list_topics()
        assert time.monotonic() - began_s < AT_ONCE_S
