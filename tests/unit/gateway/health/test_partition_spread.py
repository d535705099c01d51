"""PartitionSpread: the choice of a partition, and the warning of too few."""

import pytest

from gateway.health.partition_spread import PartitionSpread
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.gateway_registry import GatewayRegistry

NODE = "0a1b2c3d"


@pytest.fixture
def registry(redis):
    return GatewayRegistry(redis, "replies")


@pytest.fixture
def spread(registry):
    return PartitionSpread(registry, "replies", lambda: NODE)


def test_the_partition_is_one_that_no_other_process_reads(registry, spread):
    taken = {registry.choose(f"{number:08x}", 4) for number in range(3)}

    assert {spread.choose(4)} == set(range(4)) - taken


def test_without_redis_the_partition_is_chosen_by_chance():
    spread = PartitionSpread(None, "replies", lambda: NODE)

    assert {spread.choose(3) for _ in range(200)} == {0, 1, 2}
    spread.renew(1, 3)
    assert spread.warning is None


def test_while_redis_fails_the_partition_is_chosen_by_chance(spread, redis_server, caplog):
    redis_server.connected = False

    assert spread.choose(4) in range(4)
    assert "choosing a partition of the reply topic by chance" in caplog.text
    with pytest.raises(StoreUnavailable):
        spread.renew(1, 4)


def test_more_processes_than_partitions_are_a_warning_that_names_the_number(
    registry, spread, caplog
):
    for number in range(4):
        registry.choose(f"{number:08x}", 4)
    for _ in range(2):
        spread.renew(1, 4)
    warning = (
        "5 gateway processes share the 4 partitions of topic replies, and read each other's "
        "replies; give it 5 partitions or more"
    )

    assert spread.warning == warning
    assert caplog.messages == [warning]
    spread.renew(1, 5)
    assert spread.warning is None
