"""Kafka and Redis for all subjects, with fresh topics for each start."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Self

from kafka import KafkaAdminClient
from redis import Redis

from tools.bench.measure.broker_requests import BrokerRequests, jmx_options
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.embedded import FETCH_MAX_WAIT_MS, EmbeddedBroker
from tools.devstack.kafka.topics import create_topics
from tools.devstack.ports import free_port
from tools.devstack.process.child import Child
from tools.devstack.process.procfile import start_process
from tools.devstack.process.server import Server

STOP_GRACE_S = 12.0
#: Deletes the records of an earlier start soon; the default is a minute.
KAFKA_OPTIONS = {"log.segment.delete.delay.ms": "1000"}
JAVA_OPTIONS = ("-Xms1g", "-Xmx1g")


class Servers:
    """
    Apache Kafka and Valkey, running for the ``with`` block.

    Args:
        logs: folder for the output of processes.
        kafka_options: lines of server.properties.
        embedded: run the embedded broker, new for each start: it slows down within a minute.
    """

    def __init__(
        self,
        logs: Path,
        kafka_options: Mapping[str, str] | None = None,
        *,
        embedded: bool = False,
    ) -> None:
        self._logs = logs
        self._stack = ExitStack()
        self._starts = 0
        self._embedded = embedded
        metrics_port = free_port()
        self.kafka: Server = (
            EmbeddedBroker()
            if embedded
            else ApacheKafka(
                java_options=(*JAVA_OPTIONS, *jmx_options(metrics_port)),
                options=KAFKA_OPTIONS | dict(kafka_options or {}),
            )
        )
        self.requests = BrokerRequests(metrics_port, logs / "kafka-requests.log")
        self.server = EmbeddedRedis()
        self.redis = Redis.from_url(self.server.url)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.kafka)
            if not self._embedded:
                stack.enter_context(self.requests)
            stack.enter_context(self.server)
            stack.enter_context(self.redis)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def connection(self) -> dict[str, object]:
        """Connection arguments of kafka-python's clients."""
        return {"bootstrap_servers": [self.kafka.address]}

    @property
    def env(self) -> dict[str, str]:
        """Settings with the addresses of the servers."""
        urls = {"KAFKA_URL": self.kafka.url, "REDIS_URL": self.server.url}
        return urls | (
            {"KAFKA_FETCH_MAX_WAIT_MS": str(FETCH_MAX_WAIT_MS)} if self._embedded else {}
        )

    @property
    def floor_options(self) -> str:
        """Options of a floor for this broker."""
        return f" --fetch-max-wait-ms {FETCH_MAX_WAIT_MS}" if self._embedded else ""

    @property
    def pids(self) -> dict[str, list[int]]:
        """Process ids of the servers."""
        return {"kafka": [self.kafka.pid], "redis": [self.server.pid]}

    @contextmanager
    def fresh(self, topics: Iterable[str], *, prefixed: bool = True) -> Iterator[str]:
        """
        Create *topics* under a new prefix, empty Redis, and yield the prefix.

        Nothing of an earlier start is visible: no records, no offsets, no keys.

        Args:
            prefixed: whether the topics have the prefix; else only groups can have it.
        """
        self._starts += 1
        prefix = f"t{self._starts}-"
        names = [(prefix if prefixed else "") + topic for topic in topics]
        self.redis.flushall()
        if self._embedded:
            self.kafka.restart()
        create_topics(self.connection, names)
        try:
            yield prefix
        finally:
            self._delete(names)

    def start(
        self, name: str, command: str, env: Mapping[str, str], folder: Path | None = None
    ) -> Child:
        """Start *command* in *folder* (default: here), with a new log called *name*."""
        log = self._logs / f"{name}.log"
        log.unlink(missing_ok=True)
        return start_process(command, self.env | dict(env), log, folder)

    def log(self, name: str) -> str:
        """Return the log called *name*."""
        return (self._logs / f"{name}.log").read_text(encoding="utf-8")

    def _delete(self, names: list[str]) -> None:
        if self._embedded or not self.kafka.runs:
            return
        with closing(KafkaAdminClient(**self.connection)) as admin:
            admin.delete_topics(names)


def stop_together(children: Iterable[Child]) -> None:
    """Stop *children* at the same time."""
    stopping = list(children)
    for child in stopping:
        child.terminate()
    for child in stopping:
        child.stop(STOP_GRACE_S)
