"""Changes the reply topic while it is used (Apache Kafka only)."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from kafka import KafkaAdminClient

from tools.devstack.waiting import wait_until

#: Number of partitions that are added at a time, and from which on none are added.
ADDED, MAX_PARTITIONS = 2, 24
DELETE_LIMIT_S = 20.0


class ReplyTopic:
    """
    The topic of the replies.

    Args:
        connection: connection arguments of kafka-python's clients.
    """

    def __init__(self, connection: Mapping[str, Any], name: str) -> None:
        self._connection = connection
        self._name = name

    def add_partitions(self) -> None:
        """Add ADDED partitions, unless there are MAX_PARTITIONS."""
        with closing(KafkaAdminClient(**self._connection)) as admin:
            (described,) = admin.describe_topics([self._name])
            partitions = len(described["partitions"])
            if partitions < MAX_PARTITIONS:
                admin.create_partitions({self._name: partitions + ADDED})

    def delete(self) -> None:
        """Delete it; return when the broker does not list it any more."""
        with closing(KafkaAdminClient(**self._connection)) as admin:
            admin.delete_topics([self._name])
            wait_until(lambda: self._name not in admin.list_topics(), DELETE_LIMIT_S)
