"""Where the keys of a cluster are, when its nodes do not say so."""

from typing import Any

import pytest
from fakeredis import FakeRedis
from redis.cluster import ClusterNode
from redis.exceptions import (
    ClusterDownError,
    ConnectionError,
    NoPermissionError,
    RedisClusterException,
    SlotNotCoveredError,
)

from rendezvous.redis_store.connecting import cluster as cluster_module
from rendezvous.redis_store.connecting.cluster import ClusterRedis, Topology


class FakeCluster:
    """A RedisCluster, and its NodesManager, of one node."""

    def __init__(self) -> None:
        self.node: ClusterNode | None = None
        self.refreshes = 0
        self.is_reachable = True
        self.nodes_manager = self

    def get_node_from_key(self, key: object) -> ClusterNode:
        if self.node is None:
            raise SlotNotCoveredError("Slot is not covered")
        return self.node

    def initialize(self, last_failed_node_name: str | None = None) -> None:
        self.refreshes += 1
        if not self.is_reachable:
            raise RedisClusterException("Redis Cluster cannot be connected")
        self.node = ClusterNode("127.0.0.1", 1)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "REFRESH_PAUSE_S", 0.0)


def test_a_slot_without_a_node_is_found_once_it_has_one():
    topology = Topology(FakeCluster)  # type: ignore[arg-type]

    with pytest.raises(ClusterDownError):
        topology.node_of("key")

    assert topology.node_of("key").port == 1


def test_a_slot_without_a_node_fails_its_own_commands_alone():
    class Holey(FakeCluster):
        """A cluster without a node for "gone"."""

        def get_node_from_key(self, key: object) -> ClusterNode:
            if key == "gone":
                raise SlotNotCoveredError("Slot is not covered")
            return ClusterNode("127.0.0.1", 1)

        def get_redis_connection(self, node: ClusterNode) -> FakeRedis:
            return FakeRedis()

    pipeline = ClusterRedis(Holey).pipeline(transaction=False)  # type: ignore[arg-type]
    for key in ("gone", "here"):
        pipeline.set(key, b"x")

    gone, here = pipeline.execute(raise_on_error=False)
    assert isinstance(gone, ClusterDownError)
    assert here is True


def test_the_nodes_of_the_url_are_asked_again_when_all_others_are_gone():
    connected: list[FakeCluster] = []

    def connect() -> Any:
        connected.append(FakeCluster())
        connected[-1].initialize()
        return connected[-1]

    topology = Topology(connect)
    node = topology.node_of("key")
    connected[0].is_reachable = False
    topology.note(ConnectionError("refused"), node)

    topology.node_of("key")
    assert len(connected) == 2


def test_the_nodes_are_not_asked_all_the_time(monkeypatch):
    monkeypatch.setattr(cluster_module, "REFRESH_PAUSE_S", 60.0)
    fake = FakeCluster()
    fake.initialize()
    topology = Topology(lambda: fake)  # type: ignore[arg-type,return-value]
    node = topology.node_of("key")
    for _ in range(5):
        topology.note(ConnectionError("refused"), node)

    assert fake.refreshes == 1


def test_the_cause_of_a_failed_connect_is_raised():
    def connect() -> Any:
        try:
            raise NoPermissionError("NOPERM")
        except NoPermissionError:
            raise RedisClusterException("Cluster mode is not enabled on this node") from None

    redis = ClusterRedis(connect)
    with pytest.raises(NoPermissionError):
        redis.get("key")


def test_a_pipeline_is_no_transaction():
    with pytest.raises(ValueError, match=r"use transaction\(\)"):
        ClusterRedis(FakeCluster).pipeline()  # type: ignore[arg-type]
