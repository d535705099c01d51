"""What the responder does for requests that are in its partitions, counted instead of timed."""

from contextlib import closing

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from rendezvous.contract import Request
from rendezvous.correlation import epoch_ms
from tests.support.brokers import on_apache_kafka
from tests.support.deployment import Deploy, Deployment
from tools.bench.programs.counters import counts_in
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, on_apache_kafka]

REQUESTS = 3_000
#: How many handlers run at once: RESPONDER_THREADS.
HANDLERS = 16
RESPONDER = "python -m tools.bench.programs.counting_responder"


def publish(deployment: Deployment) -> None:
    deadline_ms = epoch_ms() + 55_000
    with closing(KafkaProducer(**deployment.settings.kafka_connection(), linger_ms=20)) as producer:
        for number in range(REQUESTS):
            topic, reply_topic = deployment.prefix + "echo", deployment.prefix + "replies"
            request = Request(f"id-{number}", topic, reply_topic, deadline_ms, b"x" * 200)
            key, value, headers = request.encode()
            producer.send(topic, value, key=key, headers=headers)
        producer.flush(30)


def replies_in(deployment: Deployment) -> int:
    topic = deployment.prefix + "replies"
    partitions = [TopicPartition(topic, number) for number in range(deployment.partitions)]
    with closing(KafkaConsumer(**deployment.settings.kafka_connection())) as consumer:
        return int(sum(consumer.end_offsets(partitions).values()))


def test_prepared_requests_are_read_without_idling_and_replies_share_produce_requests(
    deploy: Deploy,
):
    with deploy(gateways=0, replies=0, responders=0) as deployment:
        publish(deployment)
        process = deployment.start("responder", RESPONDER)
        assert wait_until(lambda: replies_in(deployment) >= REQUESTS, 45), process.logged()
        assert process.child.stop(20) == 0
        counts = counts_in(process.logged())

    assert counts["idle_polls"] == 0
    assert counts["polls_with_records"] < REQUESTS / 100
    # Handlers that wait for the acknowledgement have at most one each.
    assert counts["most_unacknowledged"] > HANDLERS
    # How many replies share one depends on the threads' turns; one for each would be REQUESTS.
    assert counts["ProduceRequest"] < REQUESTS / 2
