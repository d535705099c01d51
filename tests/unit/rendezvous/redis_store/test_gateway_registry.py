"""GatewayRegistry: gateway processes spread over the partitions of the reply topic."""

import random
from itertools import count

import pytest

from rendezvous.correlation import epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.gateway_registry import GONE_AFTER_S, GatewayRegistry

KEY = "served:{replies}:gateways"
NODES = [f"{number:08x}" for number in range(10)]


@pytest.fixture
def registry(redis):
    return GatewayRegistry(redis, "replies")


def test_processes_choose_different_partitions_as_long_as_there_are_some(registry):
    chosen = [registry.choose(node, 6) for node in NODES[:6]]

    assert sorted(chosen) == list(range(6))


def test_further_processes_share_partitions_evenly(registry):
    chosen = [registry.choose(node, 4) for node in NODES[:8]]

    assert sorted(chosen) == sorted([0, 1, 2, 3] * 2)


def test_a_process_that_chooses_again_counts_once_and_in_its_latest_partition(
    registry, monkeypatch
):
    monkeypatch.setattr(
        "rendezvous.redis_store.gateway_registry.epoch_ms", count(1_000_000).__next__
    )
    registry.renew(NODES[0], 0)
    registry.renew(NODES[0], 1)

    assert registry.renew(NODES[1], 1) == 2
    assert {registry.choose(NODES[2], 2) for _ in range(10)} == {0}


def test_renewing_returns_the_number_of_processes(registry):
    registry.choose(NODES[0], 4)

    assert registry.renew(NODES[1], 2) == 2
    assert registry.renew(NODES[0], 3) == 2


def test_a_process_that_renews_no_more_is_forgotten(registry, redis):
    redis.zadd(KEY, {f"0:{NODES[0]}": epoch_ms() - GONE_AFTER_S * 1000 - 1})
    redis.zadd(KEY, {f"1:{NODES[1]}": epoch_ms()})

    assert registry.choose(NODES[2], 2) == 0
    assert redis.zscore(KEY, f"0:{NODES[0]}") is None
    assert 0 < redis.ttl(KEY) <= 2 * GONE_AFTER_S


@pytest.mark.parametrize("is_first", [True, False])
def test_of_two_processes_that_choose_at_the_same_time_one_moves(
    registry, redis, monkeypatch, is_first
):
    rival = NODES[0] if is_first else "ffffffff"
    choices = [1, 2]
    monkeypatch.setattr(random, "choice", lambda free: choices.pop(0))
    others = registry._others

    def entering_meanwhile(node):
        found = others(node)
        redis.zadd(KEY, {f"1:{rival}": epoch_ms()})
        return found

    monkeypatch.setattr(registry, "_others", entering_meanwhile)

    chosen = registry.choose(NODES[1], 4)

    assert chosen == (2 if is_first else 1)
    entries = {entry.decode() for entry in redis.zrange(KEY, 0, -1)}
    assert entries == {f"1:{rival}", f"{chosen}:{NODES[1]}"}


def test_a_failure_of_redis_is_reported(registry, redis_server):
    redis_server.connected = False

    with pytest.raises(StoreUnavailable):
        registry.choose(NODES[0], 4)
    with pytest.raises(StoreUnavailable):
        registry.renew(NODES[0], 1)
    with pytest.raises(StoreUnavailable):
        registry._leave(NODES[0], 1)
