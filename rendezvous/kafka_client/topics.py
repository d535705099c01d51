"""Looks up which topics exist, for readiness and diagnostics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors

from rendezvous.kafka_client.patches.prompt_client import prompt_client
from rendezvous.kafka_client.producer import no_broker

_NOT_AUTHORIZED = kafka_errors.TopicAuthorizationFailedError.errno


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the brokers describe it."""

    partitions: int | None = None  # how many it has; None when it does not exist
    is_hidden: bool = False  # whether this gateway may not describe it


class TopicLookup:
    """
    Describes topics with one admin client, which is rebuilt after an error.

    Args:
        connection: arguments that every kafka-python client takes.
        find_problem: returns why no broker can be reached; asked before a client is built.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        find_problem: Callable[[], str | None],
        new_admin: Callable[..., Any] = KafkaAdminClient,
    ) -> None:
        self._options = dict(connection) | {
            "client_id": "rendezvous-gateway-probe",
            "bootstrap_timeout_ms": 1_000,
            "request_timeout_ms": 2_000,
            "reconnect_backoff_max_ms": 1_000,
            "kafka_client": prompt_client,
        }
        self._find_problem = find_problem
        self._new_admin = new_admin
        self._admin: Any = None

    def look_up(self, topics: Sequence[str]) -> dict[str, Topic]:
        """
        Return each of *topics* as the brokers describe it. For one thread.

        Raises:
            ConnectionError: when no broker answers.
        """
        if self._admin is None:
            self._admin = self._build()
        try:
            described = self._admin.describe_topics(list(topics))
        except kafka_errors.KafkaError as error:
            self.close()
            raise ConnectionError(str(error)) from error
        found = {topic["name"]: topic for topic in described}
        return {name: _topic(found.get(name)) for name in topics}

    def close(self) -> None:
        """Close the client, if there is one."""
        admin, self._admin = self._admin, None
        if admin is not None:
            admin.close()

    def _build(self) -> Any:
        problem = self._find_problem()
        if problem is not None:
            raise ConnectionError(problem)
        try:
            return self._new_admin(**self._options)
        except kafka_errors.KafkaError as error:
            raise ConnectionError(no_broker(error)) from error


def _topic(described: Mapping[str, Any] | None) -> Topic:
    code = None if described is None else described["error_code"]
    if described is None or code != 0:
        return Topic(is_hidden=code == _NOT_AUTHORIZED)
    return Topic(len(described.get("partitions") or ()))
