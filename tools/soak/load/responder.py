"""
The responder with one more handler: `python -m tools.soak.load.responder`.

    SOAK_SEED, SOAK_TIMEOUT_S   determine the tasks
    SOAK_LEDGER                 file of the recorded executions
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from kafka import KafkaProducer
from kafka.errors import KafkaError

from rendezvous.contract import Reply, Request
from responder.__main__ import main
from responder.registry import HandlerError, handles
from settings import Settings
from tools.soak.ledger import Ledger
from tools.soak.load.tasks import CONTENT_TYPE, TOPIC, Extra, Task, digest, number_in

#: Maximum time to wait for the metadata of the reply topic, in milliseconds.
MAX_BLOCK_MS = 1_000


class ExtraReplies:
    """Publishes what some tasks have published before their reply; it may get lost."""

    def __init__(self, producer: KafkaProducer) -> None:
        self._producer = producer

    def publish(self, extra: Extra, request: Request, reply: Reply, different: bytes) -> None:
        """Publish *extra*; *different* is the body of the other reply."""
        if extra is Extra.NOTHING:
            return
        value, headers = reply.encode()
        # A producer raises ValueError for a partition that it does not know yet.
        with suppress(KafkaError, ValueError):
            partition = request.reply_partition
            if extra is not Extra.TWICE:
                partition = self._other_partition(request)
            if extra is Extra.DIFFERENT:
                value, headers = Reply.to(request, different, content_type=CONTENT_TYPE).encode()
            self._producer.send(request.reply_topic, value, request.key, headers, partition)

    def _other_partition(self, request: Request) -> int | None:
        partitions = self._producer.partitions_for(request.reply_topic)
        wanted = request.reply_partition
        return next((p for p in sorted(partitions) if p != wanted), None)


class TaskHandler:
    """
    Executes a numbered request and records the execution.

    Args:
        seed, timeout_s: see Task.
        ledger: written before the reply is sent.
        extras: None to publish the replies alone.
    """

    def __init__(
        self, seed: int, timeout_s: float, ledger: Ledger, extras: ExtraReplies | None = None
    ) -> None:
        self._seed = seed
        self._timeout_s = timeout_s
        self._ledger = ledger
        self._extras = extras

    def __call__(self, request: Request) -> Reply:
        number = number_in(request.body)
        if number is None:
            raise HandlerError(400, "not a request of the soak")
        task = Task(self._seed, number, self._timeout_s)
        time.sleep(task.delay_s)
        self._ledger.record(number, request.correlation_id, digest(request.body), time.monotonic())
        if task.is_refused:
            raise HandlerError(task.status, task.refusal)
        reply = Reply.to(
            request, task.reply_body(request.body), status=task.status, content_type=CONTENT_TYPE
        )
        if self._extras is not None:
            self._extras.publish(task.extra, request, reply, task.different_body)
        return reply


if __name__ == "__main__":
    environment = os.environ
    connection = Settings.from_env(required=("KAFKA_URL",)).kafka_connection()
    handles(TOPIC)(
        TaskHandler(
            int(environment["SOAK_SEED"]),
            float(environment["SOAK_TIMEOUT_S"]),
            Ledger(Path(environment["SOAK_LEDGER"])),
            ExtraReplies(KafkaProducer(**connection, max_block_ms=MAX_BLOCK_MS)),
        )
    )
    main()
