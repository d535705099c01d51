"""Idle connections to Kafka and Redis that a load balancer forgets without closing them."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.kafka.embedded import EmbeddedBroker
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.tcp_proxy import TcpProxy

pytestmark = pytest.mark.e2e

KAFKA_MAX_IDLE_S, REDIS_MAX_IDLE_S = 10.0, 5.0
#: Time after which the load balancers forget, as a multiple of the settings.
FORGOTTEN = 1.2
#: Maximum time of a request that finds no forgotten connection, in seconds.
AT_ONCE_S = 0.5


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """A deployment that reaches both servers through load balancers."""
    with ExitStack() as stack:
        kafka_port = free_port()
        broker = stack.enter_context(EmbeddedBroker(advertised_port=kafka_port))
        redis = stack.enter_context(EmbeddedRedis())
        to_kafka = stack.enter_context(TcpProxy(broker.port, kafka_port))
        to_redis = stack.enter_context(TcpProxy(redis.port))
        to_kafka.forget_idle(FORGOTTEN * KAFKA_MAX_IDLE_S)
        to_redis.forget_idle(FORGOTTEN * REDIS_MAX_IDLE_S)
        env = {
            "REDIS_URL": f"redis://{LOOPBACK}:{to_redis.port}/0",
            "KAFKA_MAX_IDLE_S": str(KAFKA_MAX_IDLE_S),
            "REDIS_MAX_IDLE_S": str(REDIS_MAX_IDLE_S),
            "RESPONDER_JOURNAL": "redis",
            "WEB_CONCURRENCY": "1",
        }
        yield stack.enter_context(Deployment(broker, redis, tmp_path, env=env))


def test_a_request_after_a_long_silence_is_answered_at_once(deployment: Deployment):
    assert deployment.gateway.post("/echo", b"before").status == 200
    time.sleep(1.5 * KAFKA_MAX_IDLE_S)

    response = deployment.gateway.post("/echo", b"after", Idempotency_Key="a-key-of-this-test")

    assert response.status == 200, deployment.logs()
    assert response.elapsed_s < AT_ONCE_S
