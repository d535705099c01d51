"""The reply topic of a deployment: publish replies, read the committed offsets."""

from contextlib import closing
from typing import Self

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import RetriableError

from rendezvous.correlation import CorrelationIds, epoch_ms, new_node
from rendezvous.redis_store.connecting.opening import open_redis
from rendezvous.redis_store.replies import ReplyStore
from tests.support.deployment import Deployment, Gateway
from tests.support.records import records_of
from tools.devstack.waiting import wait_until


class ReplyTopic:
    """Publishes replies to requests that were never sent, with valid ids of *deployment*."""

    def __init__(self, deployment: Deployment) -> None:
        settings = deployment.settings
        self._deployment = deployment
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
        """Return an id with its deadline in *due_in_s*."""
        return self._ids.issue(self._node, epoch_ms() + round(due_in_s * 1000))

    def put(self, correlation_id: str, body: bytes, partition: int | None = None) -> None:
        """Publish a reply; flush() waits for the acknowledgement."""
        self._producer.send(
            self.name,
            body,
            key=correlation_id.encode(),
            headers=[("correlation-id", correlation_id.encode())],
            partition=partition,
        )

    def put_many(self, count: int, due_in_s: float = 60.0) -> dict[str, bytes]:
        """Publish *count* replies; return their bodies by id once they are acknowledged."""
        replies = {self.new_id(due_in_s): b"reply %d" % n for n in range(count)}
        for correlation_id, body in replies.items():
            self.put(correlation_id, body)
        self.flush()
        return replies

    def flush(self) -> None:
        """Return when all published replies are acknowledged."""
        self._producer.flush(timeout=20)

    def add_partitions(self, total: int) -> None:
        """Increase the number of partitions to *total*."""
        self._admin.create_partitions({self.name: total})

    def committed(self) -> int:
        """Return the sum of the committed offsets of the replies group over all partitions."""
        try:
            offsets = self._admin.list_group_offsets({self._group: None})[self._group]
        except RetriableError:
            return 0  # the first group of a broker: __consumer_offsets is not there yet
        return sum(max(found.offset, 0) for tp, found in offsets.items() if tp.topic == self.name)

    def wait_until_committed(self, limit_s: float = 10.0) -> int:
        """Return the sum of the committed offsets once all records are committed."""
        end = len(records_of(self._deployment, self._deployment.settings.reply_topic))
        assert wait_until(lambda: self.committed() == end, limit_s), (self.committed(), end)
        return end

    def members(self) -> set[str]:
        """Return the member ids of the replies group; the embedded broker does not report them."""
        described = self._admin.describe_groups([self._group])[self._group]
        return {member["member_id"] for member in described["members"]}


def fetched(gateway: Gateway, replies: dict[str, bytes]) -> dict[str, bytes]:
    """Return those of *replies* that GET /replies/<id> returns."""
    found = {}
    for correlation_id in replies:
        response = gateway.get(f"/replies/{correlation_id}")
        if response.status == 200:
            found[correlation_id] = response.body
    return found


def stored(deployment: Deployment, replies: dict[str, bytes]) -> dict[str, bytes]:
    """Return those of *replies* that are in Redis."""
    with closing(open_redis(deployment.redis.url)) as redis:
        found = ReplyStore(redis, 60).fetch_many(list(replies))
    return {correlation_id: reply.body for correlation_id, reply in found.items()}
