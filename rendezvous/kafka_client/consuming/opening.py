"""Builds a consumer of topics that exist, with our options, and tells it of new partitions."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from kafka import ConsumerRebalanceListener
from kafka import errors as kafka_errors

from rendezvous.kafka_client.patches.prompt_client import prompt_client

#: Session timeout of the group: the minimum of brokers; a killed member blocks its partitions.
SESSION_TIMEOUT_MS = 6_000
HEARTBEAT_MS = 1_500
#: How long a rebalance waits for a missing member, while no member reads. The library's default of
#: 300 s stopped all replies after a broker's restart. Our consumers poll far more often than this.
MAX_POLL_INTERVAL_MS = SESSION_TIMEOUT_MS


class AssignmentListener(ConsumerRebalanceListener):  # type: ignore[misc]  # no types
    """
    Calls *on_assigned* with new partitions before the library reads them.

    Args:
        consumer: a PatchedConsumer.
    """

    def __init__(self, consumer: Any, on_assigned: Callable[[Collection[Any]], None]) -> None:
        self._consumer = consumer
        self._on_assigned = on_assigned

    def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        """Do nothing: only a new assignment matters."""

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        """Report those of *assigned*, all partitions or the new ones, that were not kept."""
        # In one that was kept the library goes on where it was; a start often joins twice.
        self._on_assigned([p for p in assigned if self._consumer.known_position(p) is None])


def build_consumer(topics: Sequence[str], new_consumer: Callable[[], Any]) -> Any:
    """
    Return a consumer after checking that all of *topics* exist.

    Raises:
        ConnectionError: when no broker can be reached.
        LookupError: naming the topics that do not exist.
    """
    try:
        consumer = new_consumer()
    except kafka_errors.KafkaError as error:
        raise ConnectionError(str(error)) from error
    try:
        missing = sorted(set(topics) - set(consumer.topics()))
    except kafka_errors.KafkaError as error:
        consumer.close()
        raise ConnectionError(str(error)) from error
    if missing:
        consumer.close()
        raise LookupError(", ".join(missing))
    return consumer


def consumer_options(
    connection: Mapping[str, Any], group: str | None, fetch_max_wait_ms: int, client_id: str
) -> dict[str, Any]:
    """Return the arguments of a consumer without automatic commits, in *group* if given."""
    return dict(connection) | {
        "group_id": group,
        "client_id": client_id,
        # "latest" would silently skip what came before the first assignment.
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        # Records of a transaction that is aborted later must never be read (KIP-98).
        "isolation_level": "read_committed",
        "session_timeout_ms": SESSION_TIMEOUT_MS,
        "heartbeat_interval_ms": HEARTBEAT_MS,
        "max_poll_interval_ms": MAX_POLL_INTERVAL_MS,
        "fetch_max_wait_ms": fetch_max_wait_ms,
        # New topics and partitions are noticed within this time.
        "metadata_max_age_ms": 10_000,
        "max_poll_records": 1_000,
        "reconnect_backoff_max_ms": 1_000,
        # A fetch without an answer blocks its partitions for this long.
        "request_timeout_ms": fetch_max_wait_ms + 3_000,
        "bootstrap_timeout_ms": 5_000,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
        "kafka_client": prompt_client,
    }
