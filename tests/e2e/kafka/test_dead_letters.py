"""Dead letters of the demo responder, in a topic that is created after its start."""

from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from rendezvous.contract import Request
from tests.support.brokers import on_apache_kafka
from tests.support.deployment import Deploy, Deployment
from tests.support.records import records_of
from tools.devstack.kafka.topics import create_topics
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, on_apache_kafka]

LIMIT_S = 30.0
BOMB = b'{"item": "bomb", "quantity": 1}'


def publish(deployment: Deployment, *headers: tuple[str, bytes]) -> None:
    with closing(KafkaProducer(**deployment.settings.kafka_connection())) as producer:
        topic = deployment.prefix + "orders"
        producer.send(topic, b"\x00no request", key=b"k", headers=list(headers)).get(timeout=10)


def create_dlq(deployment: Deployment, name: str) -> None:
    connection = deployment.settings.kafka_connection()
    create_topics(connection, [name])
    with closing(KafkaAdminClient(**connection)) as admin:
        limit = {"max.message.bytes": "3000"}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, limit)])


def test_failed_requests_and_malformed_records_are_dead_lettered(deploy: Deploy):
    with deploy(responders=0, env={"WEB_CONCURRENCY": "1"}) as deployment:
        name = deployment.prefix + "dead"
        responder = deployment.start("responder", RESPONDER_DLQ_TOPIC="dead")
        missing = f"topic missing: {name}; create it, or correct RESPONDER_DLQ_TOPIC"
        assert wait_until(lambda: missing in responder.logged(), LIMIT_S), responder.logged()
        create_dlq(deployment, name)
        assert wait_until(lambda: "answering topics" in responder.logged(), LIMIT_S)
        gateway = deployment.gateway
        assert wait_until(lambda: gateway.post("/echo", b"x").status == 200, LIMIT_S)

        publish(deployment, ("x", b"\xff"))
        failed = gateway.post("/orders", BOMB, content_type="application/json")
        large = gateway.post("/orders", BOMB + b" " * 5_000)
        refused = gateway.post("/orders", b'{"item": "a", "quantity": 0}')
        letters: list[Any] = []

        def all_there() -> bool:
            letters[:] = records_of(deployment, "dead")
            return len(letters) == 3

        assert wait_until(all_there, LIMIT_S), deployment.logs()
        assert responder.child.stop(20) == 0
        log = responder.logged()

    assert (failed.status, large.status, refused.status) == (500, 500, 422)
    by_reason = {dict(letter.headers)["dead-letter-reason"]: letter for letter in letters}
    malformed = by_reason[b"malformed"]
    assert (malformed.key, malformed.value) == (b"k", b"\x00no request")
    assert malformed.headers[0] == ("x", b"\xff")
    requests = {
        dict(letter.headers).get("correlation-id", b"").decode(): letter for letter in letters
    }
    bomb = requests[failed.correlation_id]
    request = Request.decode("orders", bomb.key, bomb.value, bomb.headers)
    assert (request.body, request.content_type) == (BOMB, "application/json")
    headers = dict(bomb.headers)
    assert headers["dead-letter-exception"] == b"builtins.RuntimeError"
    assert headers["dead-letter-topic"].decode() == deployment.prefix + "orders"
    # The topic takes no record of 5 kB.
    (short,) = [one for one in letters if one not in (malformed, bomb)]
    assert short.value == b""
    assert dict(short.headers)["dead-letter-reason"] == b"handler-failed"
    assert "raise max.message.bytes of RESPONDER_DLQ_TOPIC" in log
    assert "dead-lettered 3" in log
