"""Creates missing topics."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError, for_code

#: More than one, so that replicas can share the work.
PARTITIONS = 4
BOOTSTRAP_LIMIT_MS = 10_000
LEADERS_LIMIT_MS = 15_000


class TopicsNotCreated(Exception):
    """Raised with the missing topics that could not be created."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
        self.reasons = reasons


def create_topics(
    kafka_connection: Mapping[str, Any], names: Iterable[str], partitions: int = PARTITIONS
) -> list[str]:
    """
    Create and return the missing topics of *names*; wait until all partitions have leaders.

    Args:
        kafka_connection: connection arguments of kafka-python's clients.
        partitions: of new topics.

    Raises:
        TopicsNotCreated: with the broker's reason for each topic.
        KafkaTimeoutError: when no broker can be reached.
    """
    wanted = list(dict.fromkeys(names))
    with closing(
        KafkaAdminClient(**kafka_connection, bootstrap_timeout_ms=BOOTSTRAP_LIMIT_MS)
    ) as admin:
        present = set(admin.list_topics())
        missing = [name for name in wanted if name not in present]
        if missing:
            _create(admin, missing, partitions)
        # All, because another process may have just created some.
        admin.wait_for_topics(wanted, timeout_ms=LEADERS_LIMIT_MS)
    return missing


def _create(admin: KafkaAdminClient, names: list[str], partitions: int) -> None:
    # Without a replication factor, the broker uses its default.
    topics = {name: {"num_partitions": partitions} for name in names}
    try:
        answer = admin.create_topics(topics, raise_errors=False)
    except KafkaError as error:
        raise TopicsNotCreated(dict.fromkeys(names, str(error))) from error
    reasons = {}
    for topic in answer["topics"]:
        kind = for_code(topic["error_code"])
        # Not an error if another process created it first.
        if topic["error_code"] != 0 and kind is not TopicAlreadyExistsError:
            reasons[topic["name"]] = topic["error_message"] or kind.__name__
    if reasons:
        raise TopicsNotCreated(reasons)
