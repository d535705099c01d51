"""Requests as requesters of other frameworks write them, answered by the responder."""

from typing import Any

import pytest
from kafka import KafkaProducer

from tests.support.deployment import Deploy, Deployment
from tests.support.records import records_of
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.e2e

BINARY_ID = bytes.fromhex("8f14e45fceea467fab0cd1b6a5c9e3f7")
ORDER = b'{"item": "tea", "quantity": 1}'
LIMIT_S = 30.0
#: By case: how a requester names id and reply topic, the id, and its further headers.
REQUESTS: dict[str, tuple[str, str, bytes, dict[str, bytes]]] = {
    "Spring, binary id": ("kafka_correlationId", "kafka_replyTopic", BINARY_ID, {}),
    "Spring, reply partition": (
        "kafka_correlationId",
        "kafka_replyTopic",
        b"spring-2",
        {"kafka_replyPartition": (2).to_bytes(4, "big")},
    ),
    "NestJS": (
        "kafka_correlationId",
        "kafka_replyTopic",
        b"nest-1",
        {"kafka_replyPartition": b"1"},
    ),
    "Quarkus": (
        "REPLY_CORRELATION_ID",
        "REPLY_TOPIC",
        bytes(range(244, 256)),
        {"REPLY_PARTITION": (3).to_bytes(4, "big")},
    ),
    "FastStream": ("correlation_id", "reply_to", b"faststream-1", {"content-type": b""}),
    "ours": ("correlation-id", "reply-topic", b"ours-1", {}),
}
PARTITIONS = {"Spring, reply partition": 2, "NestJS": 1, "Quarkus": 3}


def test_each_requester_is_answered_as_it_asks_and_only_in_topics_that_are_allowed(deploy: Deploy):
    env = {"RESPONDER_REPLY_TOPICS": "*.foreign", "RESPONDER_JOURNAL": "redis"}
    with deploy(
        gateways=0, replies=0, env=env, topics=("foreign", "secrets"), partitions=4
    ) as deployment:
        for case in REQUESTS:
            ask(deployment, case, "secrets", ORDER)
            ask(deployment, case, "foreign", ORDER)
        # The same id again, of another request: the saved reply is not its own.
        ask(deployment, "FastStream", "foreign", b'{"item": "milk", "quantity": 1}')
        found: list[Any] = []

        def is_answered() -> bool:
            found[:] = records_of(deployment, "foreign")
            return len(found) == len(REQUESTS) + 1

        assert wait_until(is_answered, LIMIT_S), (len(found), deployment.logs())
        for case, (name, _, id_, _) in REQUESTS.items():
            replies = [reply for reply in found if (name, id_) in reply.headers]
            assert len(replies) == (2 if case == "FastStream" else 1), case
            assert ("status", b"201") in replies[0].headers
            assert names_of_ids(replies[0]) == [name]
            assert replies[0].partition == PARTITIONS.get(case, replies[0].partition)
        bodies = sorted(r.value for r in found if ("correlation_id", b"faststream-1") in r.headers)
        assert [b'"milk"' in body for body in bodies] == [True, False]
        assert records_of(deployment, "secrets") == []
        logged = deployment.named("responder")[0].logged()
        assert "topic " + deployment.settings.prefixed("secrets") + " is not allowed" in logged


def ask(deployment: Deployment, case: str, topic: str, body: bytes) -> None:
    name, topic_name, id_, more = REQUESTS[case]
    settings = deployment.settings
    headers = [(name, id_), (topic_name, settings.prefixed(topic).encode()), *more.items()]
    producer = KafkaProducer(**settings.kafka_connection(), enable_idempotence=False)
    try:
        producer.send(settings.prefixed("orders"), body, headers=headers).get(timeout=10)
    finally:
        producer.close()


def names_of_ids(reply: Any) -> list[str]:
    names = {name for name, _, _, _ in REQUESTS.values()}
    return [name for name, _ in reply.headers if name in names]
