"""Which requests are in a topic, read from its start."""

from typing import Any

from tests.support.reply_topic import records_of


def correlation_ids(connection: dict[str, Any], topic: str) -> list[str]:
    """Return the correlation id of every record of *topic*."""
    return [
        dict(record.headers)["correlation-id"].decode() for record in records_of(connection, topic)
    ]
