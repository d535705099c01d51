"""Topics with a lower record size limit than the gateway's."""

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from tests.support.brokers import on_apache_kafka
from tests.support.deployment import Deploy

pytestmark = [pytest.mark.e2e, on_apache_kafka]


def test_a_record_above_the_limit_of_its_topic_is_a_413_and_affects_no_other_request(
    deploy: Deploy,
):
    with deploy(env={"WEB_CONCURRENCY": "1"}) as deployment:
        admin = KafkaAdminClient(**deployment.settings.kafka_connection())
        limit = {"max.message.bytes": "2000"}
        topic = ConfigResource(ConfigResourceType.TOPIC, deployment.prefix + "echo", limit)
        admin.alter_configs([topic])
        admin.close()

        rejected = [deployment.gateway.post("/echo", bytes(5_000)) for _ in range(3)]
        to_same_topic = deployment.gateway.post("/echo", b"small")
        to_other_topic = deployment.gateway.post("/orders", b'{"item": "a", "quantity": 1}')

    for response in rejected:
        assert (response.status, response.json["type"]) == (413, "/problems/too-large")
        assert response.json["sent"] == "no"
    assert (to_same_topic.status, to_same_topic.body) == (200, b"small")
    assert to_other_topic.status == 201
