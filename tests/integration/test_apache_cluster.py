"""Three nodes keep what two of them have, and a proxy is the only way to a broker behind it."""

import os
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from tools.devstack.kafka.apache import ApacheKafka, Listener
from tools.devstack.kafka.cluster import ApacheCluster
from tools.devstack.kafka.embedded import EmbeddedBroker
from tools.devstack.kafka.topics import create_topics
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.server import Server
from tools.devstack.tcp_proxy import TcpProxy
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

LIMIT_S = 30.0


@pytest.fixture(autouse=True)
def _apache_kafka() -> None:
    reason = ApacheKafka.unavailable_reason()
    if reason is not None and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)


def test_a_cluster_goes_on_without_one_node_and_takes_it_back_in():
    with ApacheCluster() as cluster:
        create_topics(connection(*cluster.nodes), ["kept"], partitions=1)
        publish(connection(*cluster.nodes), "kept", b"before the kill")
        before = partition(*cluster.nodes)
        leader = before["leader_id"]

        cluster.node(leader).kill()
        others = [node for node in cluster.nodes if node is not cluster.node(leader)]
        assert wait_until(lambda: partition(*others)["leader_id"] not in (leader, -1), LIMIT_S)
        publish(connection(*others), "kept", b"while it is away")
        cluster.node(leader).restart()

        assert wait_until(lambda: sorted(partition(*others)["isr_nodes"]) == [1, 2, 3], LIMIT_S)
        kept = values(connection(*cluster.nodes), "kept", 2)

    assert sorted(before["isr_nodes"]) == [1, 2, 3]
    assert kept == [b"before the kill", b"while it is away"]


def test_apache_kafka_sends_the_clients_of_a_listener_through_its_proxy():
    inside, outside = free_port(), free_port()
    listener = Listener("PROXIED", inside, advertised_port=outside)
    with ApacheKafka(listeners=[listener]) as broker, TcpProxy(inside, outside) as proxy:
        create_topics(connection(broker), ["t"], partitions=1)
        assert proxy.connections == 0

        producer = KafkaProducer(bootstrap_servers=[f"{LOOPBACK}:{proxy.port}"])
        producer.send("t", b"through the proxy").get(LIMIT_S)
        assert proxy.connections > 0
        producer.close()

        assert values(connection(broker), "t", 1) == [b"through the proxy"]


def test_the_embedded_broker_sends_its_clients_through_the_proxy():
    inside, outside = free_port(), free_port()
    with EmbeddedBroker(inside, outside) as broker, TcpProxy(inside, outside) as proxy:
        kafka = {"bootstrap_servers": [broker.url.partition("://")[2]]}
        create_topics(kafka, ["t"], partitions=1)
        producer = KafkaProducer(**kafka)
        producer.send("t", b"before").get(LIMIT_S)
        proxy.blackhole()
        future = producer.send("t", b"into the hole")
        assert not wait_until(lambda: future.is_done, 0.5)
        proxy.heal()
        future.get(LIMIT_S)
        producer.close()


def connection(*brokers: Server) -> dict[str, Any]:
    return {"bootstrap_servers": [broker.address for broker in brokers]}


def publish(kafka: dict[str, Any], topic: str, value: bytes) -> None:
    producer = KafkaProducer(**kafka, acks="all")
    producer.send(topic, value).get(LIMIT_S)
    producer.close()


def partition(*brokers: Server) -> dict[str, Any]:
    """Return what *brokers* say about the only partition; leader -1 while they cannot say."""
    admin = KafkaAdminClient(**connection(*brokers))
    try:
        (topic,) = admin.describe_topics(["kept"])
        (found,) = topic["partitions"]
        return dict(found)
    except KafkaError:
        # One of them is not yet known to be dead.
        return {"leader_id": -1, "isr_nodes": []}
    finally:
        admin.close()


def values(kafka: dict[str, Any], topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(**kafka, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, 0)])
    found: list[bytes] = []

    def has_all() -> bool:
        for records in consumer.poll(100).values():
            found.extend(record.value for record in records)
        return len(found) >= count

    assert wait_until(has_all, LIMIT_S)
    consumer.close()
    return found
