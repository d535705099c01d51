"""The cluster of three Apache Kafka nodes."""

from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError

from tests.support.brokers import require_apache
from tests.tools.devstack.kafka.clients import connection, values
from tests.tools.devstack.support import LIMIT_S
from tools.devstack.kafka.cluster import ApacheCluster
from tools.devstack.kafka.topics import create_topics
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration


def test_a_cluster_works_without_one_node_which_can_rejoin():
    require_apache()
    with ApacheCluster() as cluster:
        create_topics(connection(*cluster.nodes), ["kept"], partitions=1)
        publish(connection(*cluster.nodes), "kept", b"before the kill")
        before = partition(*cluster.nodes)
        leader = before["leader_id"]

        cluster.node(leader).kill()
        others = [node for node in cluster.nodes if node is not cluster.node(leader)]
        assert wait_until(lambda: partition(*others)["leader_id"] not in (leader, -1), LIMIT_S)
        publish(connection(*others), "kept", b"while it is down")
        cluster.node(leader).restart()

        assert wait_until(lambda: sorted(partition(*others)["isr_nodes"]) == [1, 2, 3], LIMIT_S)
        kept = values(connection(*cluster.nodes), "kept", 2)

    assert sorted(before["isr_nodes"]) == [1, 2, 3]
    assert kept == [b"before the kill", b"while it is down"]


def publish(kafka: dict[str, Any], topic: str, value: bytes) -> None:
    producer = KafkaProducer(**kafka, acks="all")
    producer.send(topic, value).get(LIMIT_S)
    producer.close()


def partition(*brokers: Server) -> dict[str, Any]:
    """Return the metadata of the only partition; leader -1 while unknown."""
    admin = KafkaAdminClient(**connection(*brokers))
    try:
        (topic,) = admin.describe_topics(["kept"])
        (found,) = topic["partitions"]
        return dict(found)
    except KafkaError:
        # The cluster has not noticed the dead node yet.
        return {"leader_id": -1, "isr_nodes": []}
    finally:
        admin.close()
