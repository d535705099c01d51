"""A Redis Cluster of three primaries with a replica each."""

import re
import time
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from redis import Redis
from redis.crc import key_slot
from redis.exceptions import MovedError, NoPermissionError

from gateway.clients.client import Client, Rate
from gateway.clients.rates import RateLimiter
from gateway.exchange.claims import Claim, Claims
from gateway.exchange.waiting.mailbox import Mailbox
from gateway.exchange.waiting.poller import Poller
from gateway.health.diagnostics import redis_findings
from rendezvous.contract import Reply
from rendezvous.correlation import CorrelationId, CorrelationIds, epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.framework_replies import StreamPart
from rendezvous.redis_store.cancellations import Cancellations
from rendezvous.redis_store.client import (
    eviction_policy,
    execute,
    ping,
    shards_behind,
    store_unavailable,
)
from rendezvous.redis_store.connecting.opening import open_redis
from rendezvous.redis_store.gateway_registry import GatewayRegistry
from rendezvous.redis_store.heartbeats import ReplyPathHeartbeats
from rendezvous.redis_store.kept_replies import KeptReplies
from rendezvous.redis_store.replies import Put, ReplyStore, reply_key
from rendezvous.redis_store.snapshots import Snapshots
from rendezvous.redis_store.streams import Streams
from responder.dedup.journal import InProgress
from responder.dedup.redis_journal import RedisJournal
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.redis_groups import ClusteredRedis
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

#: As many gateway processes have keys in every shard.
NODES = [f"{n:08x}" for n in range(40)]
KEYS = [f"key:{n}" for n in range(60)]
LIMIT_S = 20.0
IDS = CorrelationIds("a secret of this test")


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusteredRedis]:
    with ClusteredRedis() as cluster:
        yield cluster


@pytest.fixture
def redis(cluster: ClusteredRedis) -> Iterator[Redis]:
    assert cluster.wait_until_in_sync()
    with closing(open_redis(cluster.url)) as client:
        yield client


def new_ids(**options: Any) -> list[CorrelationId]:
    texts = [IDS.issue(node, epoch_ms() + 30_000, **options) for node in NODES]
    found = [IDS.read(text) for text in texts]
    return [cid for cid in found if cid is not None]


def test_what_the_processes_store_is_found_in_every_shard(redis: Redis, cluster: ClusteredRedis):
    cids, store = new_ids(), ReplyStore(redis, 60)
    replies = [(cid, Reply(cid.text, cid.text.encode())) for cid in cids]

    assert store.put_many(replies) == [Put.STORED] * len(cids)
    assert store.put_many(replies) == [Put.DUPLICATE] * len(cids)
    found = store.fetch_many([cid.text for cid in cids])
    assert {text: reply.body for text, reply in found.items()} == {
        cid.text: cid.text.encode() for cid in cids
    }
    assert all(list(client.scan_iter("reply:*")) for client in cluster.clients())
    for node in NODES:
        store.check_writes(node)
    ping(redis)
    assert eviction_policy(redis) is None
    assert shards_behind(redis) == 1


def test_claims_rates_and_kept_replies_are_of_the_whole_cluster(redis: Redis):
    claims, rates = Claims(redis, "d"), RateLimiter(redis, "d")
    kept = KeptReplies(redis, "d")
    for n in range(20):
        first, second = Claim("f", f"first-{n}"), Claim("f", f"second-{n}")
        assert claims.take(f"name-{n}", first) == first
        assert claims.confirm(f"name-{n}", first, 60_000) == first
        assert claims.take(f"name-{n}", second) == first
        claims.release(f"name-{n}", second)
        assert claims.current(f"name-{n}") == first
        claims.release(f"name-{n}", first)
        assert claims.current(f"name-{n}") is None

        client = Client(f"client-{n}", rate=Rate(10, 60))
        quotas = [rates.charge(client) for _ in range(3)]
        assert [quota.remaining for quota in quotas if quota is not None] == [9, 8, 7]

        assert kept.begin(f"client-{n}", f"id-{n}", 60).in_all == 600 * (n + 1)


def test_journal_cancellations_registry_and_heartbeats_work(redis: Redis):
    journals = [RedisJournal(redis, "group", 60) for _ in range(2)]
    for cid in new_ids()[:20]:
        assert journals[0].begin(cid.text) is None
        with pytest.raises(InProgress):
            journals[1].begin(cid.text)
        journals[0].save(cid.text, Reply(cid.text, b"saved"))
        assert journals[1].begin(cid.text) == Reply(cid.text, b"saved")

    cancellations = Cancellations(redis)
    cancellations.mark_cancelled("a")
    ids, position = cancellations.cancelled_since("")
    cancellations.mark_cancelled("b")
    assert ids == ["a"]
    assert cancellations.cancelled_since(position)[0] == ["b"]

    registry = GatewayRegistry(redis, "topic")
    assert {registry.choose(node, 4) for node in NODES[:4]} == {0, 1, 2, 3}

    heartbeats = ReplyPathHeartbeats(redis, "topic", ["key"])
    heartbeats.write(2, {0: 0.5})
    state = heartbeats.state()
    assert state is not None
    assert (state.unread, state.lag_s) == ((1,), 0.5)


def test_the_permissions_that_the_advice_lists_are_sufficient(cluster: ClusteredRedis):
    advice = store_unavailable(NoPermissionError("NOPERM")).advice
    rights = [f"+{word.lower()}" for word in re.findall(r"\b[A-Z]{3,}\b", advice)]
    rights += [f"~{key}" for key in re.findall(r"[a-z]+:\*|unwanted", advice)]
    for server in cluster.servers:
        with Redis.from_url(server.url) as client:
            client.execute_command("ACL", "SETUSER", "app", "on", ">p@ss", *rights)
    with closing(open_redis(cluster.url.replace("//", "//app:p%40ss@"))) as redis:
        store, cids = ReplyStore(redis, 60), new_ids()
        store.put_many([(cid, Reply(cid.text, b"x")) for cid in cids])
        assert len(store.fetch_many([cid.text for cid in cids])) == len(cids)
        claims, claim = Claims(redis, "d"), Claim("f", "id")
        assert claims.take("name", claim) == claim
        claims.release("name", claim)
        snapshots = Snapshots(redis, "topic")
        snapshots.write("node", {"kind": "replies"}, {"t": epoch_ms() // 10_000})
        assert len(snapshots.read()) == len(snapshots.read_steps(0)) == 1
        assert stream_answers(Streams(redis), cids) == [b"2"] * len(cids)

    with (
        closing(open_redis(cluster.url.replace("//", "//app:wrong@"))) as redis,
        pytest.raises(StoreUnavailable, match="refuses the password: correct REDIS_URL"),
    ):
        ping(redis)


def test_a_plain_url_is_told_that_it_leads_to_a_cluster(cluster: ClusteredRedis):
    with closing(open_redis(cluster.servers[0].url)) as redis:
        pipeline = redis.pipeline(transaction=False)
        for key in KEYS:
            pipeline.get(key)

        with pytest.raises(StoreUnavailable, match=r"several shards: write redis\+cluster://"):
            execute(pipeline)
        assert shards_behind(redis) == 3
        assert [finding.ok for finding in redis_findings(redis, "redis://", None)] == [False]


def test_a_url_of_a_cluster_is_told_that_it_leads_to_one_redis():
    with (
        EmbeddedRedis() as server,
        closing(open_redis(f"redis+cluster://{server.address}")) as redis,
        pytest.raises(StoreUnavailable, match="Redis is not a cluster: write redis://"),
    ):
        ping(redis)


def test_keys_are_found_while_their_slot_moves_and_afterwards(
    redis: Redis, cluster: ClusteredRedis
):
    write_all(redis, "before")
    old, new, *_ = cluster.primaries()
    slot = key_slot(keys_on(old)[0].encode())
    with Redis.from_url(old.url) as source, Redis.from_url(new.url) as target:
        ids = [node.execute_command("CLUSTER", "MYID") for node in (source, target)]
        target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        moved = [key for key in KEYS if key_slot(key.encode()) == slot]
        for key in moved:
            source.execute_command("MIGRATE", "127.0.0.1", new.port, key, 0, 1000)
        assert read_all(redis) == {b"before"}  # ASK
        write_all(redis, "meanwhile")
        for node in (target, source):
            node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])

    assert read_all(redis) == {b"meanwhile"}  # MOVED
    write_all(redis, "after")
    redis.transaction(lambda pipeline: None, moved[0])
    assert read_all(redis) == {b"after"}


def test_a_hanging_shard_costs_a_batch_no_more_than_one_time_out(
    redis: Redis, cluster: ClusteredRedis
):
    cids, store = new_ids() * 5, ReplyStore(redis, 60)
    replies = [(cid, Reply(cid.text, b"x")) for cid in cids]
    store.put_many(replies)
    victim = cluster.primaries()[0]
    victim.pause()
    try:
        began_s = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.put_many(replies)
        took_s = time.monotonic() - began_s
    finally:
        victim.resume()

    assert took_s < 1.5
    assert wait_until(lambda: stores(store, replies), LIMIT_S)


def test_a_waiter_for_a_reply_in_a_hanging_shard_does_not_delay_others(
    redis: Redis, cluster: ClusteredRedis
):
    store, mailbox = ReplyStore(redis, 60), Mailbox()
    victim, other, *_ = cluster.primaries()
    lost, own = id_on(victim), id_on(other)
    mailbox.node = own.node
    poller = Poller(store, mailbox)
    poller.check()  # knows the nodes from now on
    poller.start()
    victim.pause()
    try:
        with mailbox.waiting_for(lost.text) as hanging, mailbox.waiting_for(own.text) as waiter:
            assert wait_until(lambda: lost.node in poller._resting, LIMIT_S)
            began_s = time.monotonic()
            store.put_many([(own, Reply(own.text, b"x"))])
            assert waiter.wait(LIMIT_S) is not None
            took_s = time.monotonic() - began_s
            assert hanging.wait(0) is None
        assert poller.store_error is None
        with pytest.raises(StoreUnavailable):
            poller.poll(lost.text)
    finally:
        victim.resume()
        poller.close()

    assert took_s < 0.2


def test_other_shards_go_on_while_one_fails_over(redis: Redis, cluster: ClusteredRedis):
    write_all(redis, "before")
    victim = cluster.primaries()[0]
    others = set(KEYS) - set(keys_on(victim))
    victim.kill()
    # Until its failure is noticed, and the others answer that the cluster is down.
    assert read_all(redis, others) == {b"before"}
    assert wait_until(lambda: writes(redis, "after"), LIMIT_S)
    assert read_all(redis) == {b"after"}

    victim.start()
    assert cluster.wait_until_in_sync()
    cluster.switch(cluster.primaries()[0])
    write_all(redis, "at last")
    assert read_all(redis) == {b"at last"}


def stream_answers(streams: Streams, cids: list[CorrelationId]) -> list[bytes]:
    """Return the bodies of the answers to streams of two values each."""
    ttls_ms = [60_000] * len(cids)
    for offset, value in enumerate((b"1", b"2")):
        parts = [Reply(c.text, value, offset=offset, part=StreamPart.VALUE) for c in cids]
        streams.answers(list(zip(cids, parts, strict=True)), ttls_ms)
    ends = [Reply(cid.text, b"", part=StreamPart.END) for cid in cids]
    found = streams.answers(list(zip(cids, ends, strict=True)), ttls_ms)
    return [reply.body for reply in found if reply is not None]


def id_on(server: EmbeddedRedis) -> CorrelationId:
    """Return an id whose reply is kept by the primary *server*."""
    with Redis.from_url(server.url) as client:
        for cid in new_ids():
            with suppress(MovedError):
                client.get(reply_key(cid.text))
                return cid
    raise AssertionError("no id of these nodes is there")


def keys_on(server: EmbeddedRedis) -> list[str]:
    with Redis.from_url(server.url) as client:
        return [key.decode() for key in client.scan_iter("key:*")]


def write_all(redis: Redis, value: str) -> None:
    pipeline = redis.pipeline(transaction=False)
    for key in KEYS:
        pipeline.set(key, value)
    execute(pipeline)


def read_all(redis: Redis, keys: Collection[str] = KEYS) -> set[bytes]:
    pipeline = redis.pipeline(transaction=False)
    for key in keys:
        pipeline.get(key)
    return set(execute(pipeline))


def writes(redis: Redis, value: str) -> bool:
    try:
        write_all(redis, value)
    except StoreUnavailable:
        return False
    return True


def stores(store: ReplyStore, replies: list[tuple[CorrelationId, Reply]]) -> bool:
    try:
        store.put_many(replies)
    except StoreUnavailable:
        return False
    return True
