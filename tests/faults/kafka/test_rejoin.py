"""A group member rejoins because its topic got partitions, and reads them all."""

from contextlib import closing

import pytest

from rendezvous.kafka_client.consuming.opening import consumer_options
from rendezvous.kafka_client.patches.consumer import PatchedConsumer
from tests.support.brokers import on_apache_kafka
from tests.support.deployment import Deploy
from tests.support.reply_topic import ReplyTopic
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.faults, on_apache_kafka]  # the embedded broker adds no partitions

FIRST, LAST = 4, 12
#: Shorter than a rejoin takes, as every poll is for a broker under load.
POLL_MS = 1
LIMIT_S = 20.0


def test_rejoins_that_outlast_a_poll_end_with_all_partitions(deploy: Deploy):
    with (
        deploy(gateways=0, replies=0, responders=0) as deployment,
        ReplyTopic(deployment) as topic,
    ):
        options = consumer_options(deployment.settings.kafka_connection(), "group", 5, "rejoins")
        options["metadata_max_age_ms"] = 300
        with closing(PatchedConsumer(topic.name, **options)) as consumer:

            def has_assigned(partitions: int) -> bool:
                consumer.poll(timeout_ms=POLL_MS)
                return len(consumer.assignment()) == partitions

            for partitions in range(FIRST, LAST + 1):
                if partitions > FIRST:
                    topic.add_partitions(partitions)
                assert wait_until(lambda: has_assigned(partitions), LIMIT_S), partitions  # noqa: B023
