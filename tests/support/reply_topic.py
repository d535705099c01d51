"""The reply topic, seen from beside: replies put there by hand, and how far they are committed."""

from contextlib import closing
from typing import Any, Self

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import RetriableError

from rendezvous.correlation import CorrelationIds, epoch_ms, new_node
from rendezvous.redis_store.client import open_redis
from rendezvous.redis_store.replies import ReplyStore
from tests.support.deployment import Deployment, Gateway
from tools.devstack.waiting import wait_until

READ_LIMIT_S = 30.0


class ReplyTopic:
    """
    Writes replies as a responder would, to requests that nobody sent, under ids of *deployment*.
    """

    def __init__(self, deployment: Deployment) -> None:
        settings = deployment.settings
        self.name = settings.prefixed(settings.reply_topic)
        self._group = settings.prefixed(settings.replies_group)
        self._connection = settings.kafka_connection()
        self._ids = CorrelationIds(settings.secret_key)
        self._node = new_node()
        self._producer = KafkaProducer(**self._connection)
        self._admin = KafkaAdminClient(**self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close()
        self._admin.close()

    def new_id(self, due_in_s: float = 60.0) -> str:
        """Return an id whose reply is due in *due_in_s*."""
        return self._ids.issue(self._node, epoch_ms() + round(due_in_s * 1000))

    def put(self, correlation_id: str, body: bytes, partition: int | None = None) -> None:
        """Publish a reply; flush() waits for the broker."""
        self._producer.send(
            self.name,
            body,
            key=correlation_id.encode(),
            headers=[("correlation-id", correlation_id.encode())],
            partition=partition,
        )

    def put_many(self, count: int, due_in_s: float = 60.0) -> dict[str, bytes]:
        """Publish *count* replies; return their bodies by id once the broker has them."""
        replies = {self.new_id(due_in_s): b"reply %d" % n for n in range(count)}
        for correlation_id, body in replies.items():
            self.put(correlation_id, body)
        self.flush()
        return replies

    def flush(self) -> None:
        """Return when the broker has all that was put."""
        self._producer.flush(timeout=20)

    def add_partitions(self, total: int) -> None:
        """Let the topic have *total* partitions from now on."""
        self._admin.create_partitions({self.name: total})

    def committed(self) -> int:
        """Return how many records the replies processes have committed, over all partitions."""
        try:
            offsets = self._admin.list_group_offsets({self._group: None})[self._group]
        except RetriableError:
            return 0  # a broker that sees its first group has nowhere to look yet
        return sum(max(found.offset, 0) for tp, found in offsets.items() if tp.topic == self.name)

    def members(self) -> set[str]:
        """Return under which ids the replies processes are members; not of an embedded broker."""
        described = self._admin.describe_groups([self._group])[self._group]
        return {member["member_id"] for member in described["members"]}

    def end(self) -> int:
        """Return how many records there are, over all partitions."""
        return record_count(self._connection, self.name)


def record_count(connection: dict[str, Any], topic: str) -> int:
    """Return how many records *topic* holds."""
    return len(records_of(connection, topic))


def records_of(connection: dict[str, Any], topic: str) -> list[Any]:
    """Return all records that *topic* has now."""
    consumer = KafkaConsumer(**connection, fetch_max_wait_ms=5)
    try:
        partitions = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        # Read on until none comes: the embedded broker says of a batch that it ends after its
        # first record.
        ends = consumer.end_offsets(partitions)
        found: list[Any] = []

        def is_read() -> bool:
            batch = consumer.poll(timeout_ms=100)
            found.extend(record for records in batch.values() for record in records)
            return not batch and all(consumer.position(p) >= end for p, end in ends.items())

        assert wait_until(is_read, READ_LIMIT_S)
        return found
    finally:
        consumer.close()


def fetched(gateway: Gateway, replies: dict[str, bytes]) -> dict[str, bytes]:
    """Return those of *replies* that GET /replies/<id> answers with now."""
    found = {}
    for correlation_id in replies:
        response = gateway.get(f"/replies/{correlation_id}")
        if response.status == 200:
            found[correlation_id] = response.body
    return found


def stored(deployment: Deployment, replies: dict[str, bytes]) -> dict[str, bytes]:
    """Return those of *replies* that are in Redis now."""
    with closing(open_redis(deployment.redis.url)) as redis:
        found = ReplyStore(redis, 60).fetch_many(list(replies))
    return {correlation_id: reply.body for correlation_id, reply in found.items()}
