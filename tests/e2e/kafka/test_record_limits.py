"""A topic that takes less than the gateway does: one client's affair, and nobody else's."""

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from tests.support.brokers import on_apache_kafka
from tests.support.deployment import Deploy

pytestmark = [pytest.mark.e2e, on_apache_kafka]


def test_a_record_that_its_topic_refuses_is_413_and_harms_no_other(
    deploy: Deploy,
):
    with deploy(env={"WEB_CONCURRENCY": "1"}) as deployment:
        admin = KafkaAdminClient(**deployment.settings.kafka_connection())
        limit = {"max.message.bytes": "2000"}
        topic = ConfigResource(ConfigResourceType.TOPIC, deployment.prefix + "echo", limit)
        admin.alter_configs([topic])
        admin.close()

        refused = [deployment.gateway.post("/echo", bytes(5_000)) for _ in range(3)]
        to_its_topic = deployment.gateway.post("/echo", b"small")
        to_another = deployment.gateway.post("/orders", b'{"item": "a", "quantity": 1}')

    for response in refused:
        assert (response.status, response.json["type"]) == (413, "/problems/too-large")
        assert response.json["sent"] == "no"
    assert (to_its_topic.status, to_its_topic.body) == (200, b"small")
    assert to_another.status == 201
