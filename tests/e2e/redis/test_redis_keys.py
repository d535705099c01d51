"""Keys in Redis: every reply expires, and no unsolicited reply is stored."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kafka import KafkaProducer
from redis import Redis

from rendezvous.correlation import CorrelationIds, epoch_ms
from tests.support.deployment import Deploy, Deployment
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

UNSOLICITED = 10_000


def reply_keys(redis: Redis, node: str) -> list[bytes]:
    keys: list[bytes] = list(redis.scan_iter(f"reply:{{{node}}}:*"))
    # The readiness check writes one that is no reply.
    return [key for key in keys if not key.endswith(b".check")]


@contextmanager
def redis_of(deployment: Deployment) -> Iterator[Redis]:
    with Redis.from_url(deployment.redis.url) as redis:
        yield redis


def test_a_reply_expires_after_deadline_and_retention(deploy: Deploy):
    timeout_s, retention_s = 1.0, 2.0
    env = {"REPLY_TIMEOUT_S": str(timeout_s), "REPLY_RETENTION_S": str(retention_s)}
    with deploy(env=env) as deployment, redis_of(deployment) as redis:
        ids = [deployment.gateway.post("/echo", b"x").correlation_id for _ in range(20)]
        nodes = {i.partition(".")[0] for i in ids}

        for node in nodes:
            for key in reply_keys(redis, node):
                left_ms, deadline_ms = redis.pttl(key), int(key.decode().split(".")[1])
                assert left_ms > 0
                # The time to live is set and read at different times.
                assert abs(epoch_ms() + left_ms - deadline_ms - retention_s * 1000) < 500
        assert wait_until(
            lambda: not any(reply_keys(redis, node) for node in nodes), timeout_s + retention_s + 2
        )


def test_without_retention_a_reply_is_evicted_at_the_timeout(deploy: Deploy):
    with (
        deploy(env={"REPLY_TIMEOUT_S": "2", "REPLY_RETENTION_S": "0"}) as deployment,
        redis_of(deployment) as redis,
    ):
        response = deployment.gateway.post("/echo", b"x")
        node, deadline_ms = response.correlation_id.split(".")[:2]
        assert len(reply_keys(redis, node)) >= 1

        assert wait_until(lambda: not reply_keys(redis, node), 5)
        late_ms = epoch_ms() - int(deadline_ms)
        gone = deployment.gateway.get(f"/replies/{response.correlation_id}")

        assert late_ms < 1_000
        assert gone.status == 410


def test_foreign_and_expired_replies_are_not_stored(deploy: Deploy):
    # Through Redis, so that each response comes after its reply is stored.
    env = {"REPLY_TIMEOUT_S": "10", "REPLY_DELIVERY": "store"}
    with deploy(env=env) as deployment, redis_of(deployment) as redis:
        foreign = CorrelationIds("another secret key, but as long")
        own = CorrelationIds(deployment.secret_key)
        an_hour_ago_ms = epoch_ms() - 3_600_000
        kinds = [
            foreign.issue("0badcafe", epoch_ms() + 60_000).encode(),
            b"0f8fad5b-d9cb-469f-a165-70867728950e",
            own.issue("0badcafe", an_hour_ago_ms).encode(),
        ]
        deployment.gateway.post("/echo", b"warm")
        before = redis.info("memory")["used_memory"]
        keys_before = redis.dbsize()

        producer = KafkaProducer(
            **deployment.settings.kafka_connection(), linger_ms=20, batch_size=200_000
        )
        statuses = []
        for n in range(UNSOLICITED):
            header = [("correlation-id", kinds[n % len(kinds)])]
            producer.send(deployment.prefix + "replies", b"unsolicited", b"%d" % n, header)
            if n % (UNSOLICITED // 10) == 0:
                statuses.append(deployment.gateway.post("/echo", b"good").status)
        producer.flush(60)
        producer.close()
        # Their replies come after the unsolicited ones in each partition.
        for _ in range(20):
            statuses.append(deployment.gateway.post("/echo", b"good").status)
        after = redis.info("memory")["used_memory"]
        listener = deployment.named("replies")[0]
        assert listener.child.stop(10) == 0

        assert set(statuses) == {200}
        assert redis.dbsize() - keys_before <= len(statuses)
        assert after - before < 1_000_000
        counts = listener.logged().rpartition("replies so far: ")[2]
        assert f"foreign {count(UNSOLICITED, 0) + count(UNSOLICITED, 1)}" in counts
        assert f"expired {count(UNSOLICITED, 2)}" in counts


def count(total: int, kind: int) -> int:
    return len(range(kind, total, 3))
