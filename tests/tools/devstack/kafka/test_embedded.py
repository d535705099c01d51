"""The embedded broker behind a proxy."""

import pytest
from kafka import KafkaProducer

from tests.tools.devstack.support import LIMIT_S
from tools.devstack.kafka.embedded import EmbeddedBroker
from tools.devstack.kafka.topics import create_topics
from tools.devstack.ports import free_port
from tools.devstack.tcp_proxy import TcpProxy
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration


def test_clients_connect_to_the_advertised_port():
    inside, outside = free_port(), free_port()
    with EmbeddedBroker(inside, outside) as broker, TcpProxy(inside, outside) as proxy:
        kafka = {"bootstrap_servers": [broker.url.partition("://")[2]]}
        create_topics(kafka, ["t"], partitions=1)
        producer = KafkaProducer(**kafka)
        producer.send("t", b"before").get(LIMIT_S)
        proxy.blackhole()
        future = producer.send("t", b"during the blackhole")
        assert not wait_until(lambda: future.is_done, 0.5)
        proxy.heal()
        future.get(LIMIT_S)
        producer.close()
