"""A Redis that is a cluster of one: it refuses commands whose keys are in several slots."""

import time
from collections.abc import Iterator

import pytest
from redis import Redis
from redis.exceptions import ClusterDownError, ResponseError

from rendezvous.contract import Reply
from rendezvous.correlation import CorrelationIds, epoch_ms
from rendezvous.redis_store.cancellations import Cancellations
from rendezvous.redis_store.replies import ReplyStore, reply_key
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.ports import free_port
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration


class ClusterOfOne(EmbeddedRedis):
    """Valkey in cluster mode, with all slots."""

    def command(self) -> list[str]:
        more = {"cluster-enabled": "yes", "cluster-port": str(free_port())}
        return [*super().command(), *(w for k, v in more.items() for w in (f"--{k}", v))]


@pytest.fixture
def redis() -> Iterator[Redis]:
    with ClusterOfOne() as server:
        client = Redis.from_url(server.url)
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        assert wait_until(lambda: is_up(client), 20)
        yield client
        client.close()


def is_up(client: Redis) -> bool:
    try:
        client.get("any key")
    except ClusterDownError:
        return False
    return True


def test_replies_to_several_processes_are_fetched_in_one_round_trip(redis: Redis):
    ids, store = CorrelationIds("a secret of this test"), ReplyStore(redis, 60)
    cids = [
        ids.read(ids.issue(node, epoch_ms() + 30_000))
        for node in ("0a1b2c3d", "ffffffff", "0a1b2c3d", "00000000")
    ]
    store.put_many([(cid, Reply(cid.text, cid.text.encode())) for cid in cids])
    with pytest.raises(ResponseError, match="same slot"):
        redis.mget([reply_key(cid.text) for cid in cids])

    found = store.fetch_many([cid.text for cid in cids])

    assert {text: reply.body for text, reply in found.items()} == {
        cid.text: cid.text.encode() for cid in cids
    }


def test_cancelled_ids_are_read_in_order(redis: Redis):
    cancellations = Cancellations(redis)
    began_ms = round(time.time() * 1000)
    cancellations.mark_cancelled("a")
    ids, position = cancellations.cancelled_since("")
    cancellations.mark_cancelled("b")

    assert ids == ["a"]
    assert int(position.partition("-")[0]) >= began_ms - 60_000
    assert cancellations.cancelled_since(position)[0] == ["b"]
