"""
Finishes a rejoin that outlasts one poll().

Bug: kafka-python 3.0 decides in each poll() anew whether to rejoin, and forgets the rejoin that is
under way. The leader of a group rejoins when the partitions of its topics change, and takes note of
the change when JoinGroup is answered. If poll() ends before SyncGroup is answered, the next one
finds no reason to rejoin: the member has neither an assignment nor heartbeats, for good.
Reproduce: test_pending_join.py in tests/unit/rendezvous/kafka_client/patches;
tests/faults/kafka/test_rejoin.py on Apache Kafka.
Effect: a rejoining member reads again; without it 4 of 110 starts under load stayed silent.
Remove: when need_rejoin() is True while _join_task is pending, as Java's rejoinNeededOrPending().
"""

from collections.abc import Callable
from functools import partial
from typing import Any


def finish_pending_joins(consumer: Any) -> None:
    """Let *consumer*, a KafkaConsumer, go on with a rejoin until it has ended."""
    coordinator = consumer._coordinator
    coordinator.need_rejoin = partial(_need_rejoin, coordinator, coordinator.need_rejoin)


def _need_rejoin(coordinator: Any, has_reason: Callable[[], bool]) -> bool:
    # "rejoining" lasts from before JoinGroup is sent until the assignment is known, failures too.
    return bool(coordinator.rejoining) or has_reason()
