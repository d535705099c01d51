"""Creation of missing topics."""

from collections.abc import Iterator

import pytest
from kafka import KafkaConsumer

from tests.support.brokers import BROKERS, require_apache
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.embedded import EmbeddedBroker
from tools.devstack.kafka.topics import TopicsNotCreated, create_topics
from tools.devstack.process.server import Server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "apache":
        require_apache()
    with ApacheKafka() if request.param == "apache" else EmbeddedBroker() as broker:
        yield broker


def test_missing_topics_are_created_with_leaders(broker: Server):
    kafka = {"bootstrap_servers": [broker.address]}

    assert create_topics(kafka, ["first", "second"], partitions=3) == ["first", "second"]
    assert create_topics(kafka, ["second", "third"], partitions=5) == ["third"]

    consumer = KafkaConsumer(**kafka)
    assert consumer.partitions_for_topic("second") == {0, 1, 2}
    assert consumer.partitions_for_topic("third") == {0, 1, 2, 3, 4}
    consumer.close()


@pytest.mark.parametrize("broker", ["apache"], indirect=True)
def test_a_refused_topic_is_reported_with_the_reason(broker: Server):
    with pytest.raises(TopicsNotCreated) as refusal:
        create_topics({"bootstrap_servers": [broker.address]}, ["good", "not good"])

    assert list(refusal.value.reasons) == ["not good"]
    assert "invalid" in refusal.value.reasons["not good"]
