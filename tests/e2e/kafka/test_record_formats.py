"""
Records as other client libraries write them: compressed, and in transactions.

The topics are compacted, and their timestamps are those of the broker (LogAppendTime).
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.record import default_records

from rendezvous.contract import Request
from rendezvous.correlation import epoch_ms
from tests.support.brokers import on_apache_kafka
from tests.support.deployment import Deploy, Deployment
from tests.support.producers import CODECS, PRODUCERS, Send
from tests.support.scripted_responder import ScriptedResponder, correlation_id
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, on_apache_kafka]

#: All byte values, and enough repetition that each library compresses it.
BODY = bytes(range(256)) * 40
FORMAT = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}
TOPICS = ("echo", "scripted", "replies")


@pytest.fixture(scope="module")
def deployment(
    deploy_for_module: Deploy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    routes = tmp_path_factory.mktemp("routes") / "routes.toml"
    routes.write_text(
        Path("routes.toml").read_text(encoding="utf-8")
        + '\n[[route]]\npath = "/scripted/<case>"\ntopic = "scripted"\n'
    )
    env = {"ROUTES_FILE": str(routes), "WEB_CONCURRENCY": "1", "KAFKA_COMPRESSION": "zstd"}
    with deploy_for_module(env=env, topics=("scripted",), partitions=1) as deployment:
        with closing(KafkaAdminClient(**deployment.settings.kafka_connection())) as admin:
            admin.alter_configs(
                [
                    ConfigResource(ConfigResourceType.TOPIC, deployment.prefix + topic, FORMAT)
                    for topic in TOPICS
                ]
            )
        yield deployment


@pytest.fixture(scope="module")
def senders(deployment: Deployment) -> Iterator[dict[str, Send]]:
    """A function for each library that sends a compressed record."""
    (address,) = deployment.settings.kafka_brokers()
    with ExitStack() as stack:
        yield {name: stack.enter_context(new(address)) for name, new in PRODUCERS.items()}


@pytest.fixture(scope="module")
def transactions(deployment: Deployment) -> Any:
    (address,) = deployment.settings.kafka_brokers()
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": address, "transactional.id": deployment.prefix}
    )
    producer.init_transactions(20)
    return producer


@pytest.fixture(scope="module")
def responder(
    deployment: Deployment, senders: dict[str, Send], transactions: Any
) -> Iterator[ScriptedResponder]:
    """A responder that replies as the last part of the request path says."""
    topic = deployment.prefix + "replies"

    def run(_: ScriptedResponder, record: Any) -> None:
        headers = [("correlation-id", correlation_id(record))]
        case = dict(record.headers)["path"].decode().rpartition("/")[2]
        library, _, codec = case.partition(".")
        if library in senders:
            senders[library](codec, topic, BODY, headers)
            return
        transactions.begin_transaction()
        transactions.produce(topic, b"aborted", key=b"key", headers=headers)
        assert transactions.flush(20) == 0
        transactions.abort_transaction(20)
        if case == "committed":
            transactions.begin_transaction()
            transactions.produce(topic, b"committed", key=b"key", headers=headers)
            transactions.commit_transaction(20)

    with ScriptedResponder.of(deployment, "scripted", run) as responder:
        yield responder


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("library", PRODUCERS)
@pytest.mark.usefixtures("responder")
def test_compressed_replies_arrive_byte_by_byte(deployment: Deployment, library: str, codec: str):
    response = deployment.gateway.post(f"/scripted/{library}.{codec}")
    stored = deployment.gateway.fetch(response.correlation_id)

    assert (response.status, response.body) == (200, BODY)
    assert (stored.status, stored.body) == (200, BODY)


@pytest.mark.parametrize("library", PRODUCERS)
def test_compressed_requests_are_answered_byte_by_byte(
    deployment: Deployment, senders: dict[str, Send], library: str
):
    partition = TopicPartition(deployment.prefix + "replies", 0)
    found: dict[bytes, bytes] = {}
    with closing(KafkaConsumer(**deployment.settings.kafka_connection())) as consumer:
        consumer.assign([partition])
        consumer.seek_to_end(partition)
        consumer.position(partition)
        for codec in CODECS:
            topic, deadline_ms = deployment.prefix + "echo", epoch_ms() + 20_000
            request = Request(f"{library}-{codec}", topic, partition.topic, deadline_ms, BODY)
            _, value, headers = request.encode()
            senders[library](codec, topic, value, headers)

        def all_replied() -> bool:
            for record in consumer.poll(timeout_ms=200).get(partition, ()):
                found[correlation_id(record)] = record.value
            return len(found) == len(CODECS)

        wait_until(all_replied, 20)

    assert found == {f"{library}-{codec}".encode(): BODY for codec in CODECS}


@pytest.mark.usefixtures("responder")
def test_only_replies_of_committed_transactions_reach_clients(deployment: Deployment):
    responses = [deployment.gateway.post("/scripted/committed") for _ in range(5)]
    aborted = deployment.gateway.post("/scripted/aborted")
    ready = deployment.gateway.get("/readyz")

    assert {(response.status, response.body) for response in responses} == {(200, b"committed")}
    assert (aborted.status, aborted.json["sent"]) == (503, "yes")
    assert deployment.gateway.fetch(aborted.correlation_id).status == 202
    assert ready.status == 200
    assert "behind" not in ready.body.decode()


def test_requests_and_replies_of_ours_are_compressed_as_set(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
):
    response = deployment.gateway.post("/echo", BODY, content_type="application/octet-stream")
    decode = default_records.zstd_decode
    decoded: list[bytes] = []

    def noting(data: bytes) -> bytes:
        decoded.append(decode(data))
        return decoded[-1]

    monkeypatch.setattr(default_records, "zstd_decode", noting)
    values = [last_value(deployment, topic) for topic in ("echo", "replies")]

    assert (response.status, response.body, values) == (200, BODY, [BODY, BODY])
    assert len(decoded) == 2


def last_value(deployment: Deployment, topic: str) -> bytes | None:
    partition = TopicPartition(deployment.prefix + topic, 0)
    with closing(KafkaConsumer(**deployment.settings.kafka_connection())) as consumer:
        consumer.assign([partition])
        consumer.seek(partition, consumer.end_offsets([partition])[partition] - 1)
        value: bytes | None = next(consumer).value
    return value
