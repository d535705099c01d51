"""Apache Kafka as one node."""

import pytest
from kafka import KafkaProducer

from tests.support.brokers import require_apache
from tests.tools.devstack.kafka.clients import connection, values
from tests.tools.devstack.support import LIMIT_S
from tools.devstack.kafka.apache import ApacheKafka, Listener
from tools.devstack.kafka.topics import create_topics
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.server import ServerNotStarted
from tools.devstack.tcp_proxy import TcpProxy

pytestmark = pytest.mark.integration


def test_records_survive_a_kill_and_a_restart():
    require_apache()
    with ApacheKafka() as broker:
        kafka = {"bootstrap_servers": [broker.address]}
        create_topics(kafka, ["kept"], partitions=1)
        producer = KafkaProducer(**kafka, acks="all")
        producer.send("kept", b"before the kill").get(LIMIT_S)
        producer.close()

        broker.kill()
        broker.restart()
        broker.restart()

        assert values(kafka, "kept", 1) == [b"before the kill"]


def test_clients_of_a_listener_connect_to_its_advertised_port():
    require_apache()
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


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")

    reason = ApacheKafka.unavailable_reason()

    assert reason == "Apache Kafka needs java and mvn on PATH."
    with pytest.raises(ServerNotStarted, match="java and mvn"), ApacheKafka():
        pass
