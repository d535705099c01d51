"""
The echo responder: a loop that echoes at low cost, the same for all subjects.

Its consumer runs like ours, so that it adds little to the measured cost.

    python -m tools.bench.programs.echo_responder BROKER TOPIC GROUP

No acknowledgements, no commits. A body may ask for a delay (load/bodies.py).
"""

import heapq
import sys
import time
from typing import Any

from kafka import KafkaProducer

from rendezvous.kafka_client.patches.consumer import PatchedConsumer
from tools.bench.load.bodies import delay_of

POLL_MS = 200.0
#: Shortest poll while replies are due.
MIN_POLL_MS = 1.0


class DelayedReplies:
    """Replies ordered by due time, in seconds of any one clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Any]] = []
        self._count = 0

    def add(self, due_s: float, reply: Any) -> None:
        """Keep *reply* until *due_s*."""
        self._count += 1  # breaks ties, because replies cannot be compared
        heapq.heappush(self._heap, (due_s, self._count, reply))

    def take(self, now_s: float) -> list[Any]:
        """Remove and return the replies that are due, earliest first."""
        found = []
        while self._heap and self._heap[0][0] <= now_s:
            found.append(heapq.heappop(self._heap)[2])
        return found

    def poll_ms(self, now_s: float) -> float:
        """Return the longest poll for requests before the next reply is due."""
        if not self._heap:
            return POLL_MS
        return min(max((self._heap[0][0] - now_s) * 1e3, MIN_POLL_MS), POLL_MS)


def main() -> None:
    """Reply until killed."""
    broker, topic, group = sys.argv[1:]
    consumer = PatchedConsumer(
        topic,
        bootstrap_servers=broker,
        group_id=group,
        auto_offset_reset="earliest",  # requests published before the start need replies too
        fetch_max_wait_ms=100,
        metrics_enabled=False,
    )
    producer = KafkaProducer(
        bootstrap_servers=broker, acks=1, enable_idempotence=False, metrics_enabled=False
    )
    delayed = DelayedReplies()
    while True:
        batch = consumer.poll(timeout_ms=delayed.poll_ms(time.monotonic()))
        now_s = time.monotonic()
        for records in batch.values():
            for record in records:
                delay_s = delay_of(record.value)
                if delay_s:
                    delayed.add(now_s + delay_s, record)
                else:
                    _reply(producer, record)
        for record in delayed.take(time.monotonic()):
            _reply(producer, record)


def _reply(producer: Any, record: Any) -> None:
    headers = dict(record.headers)
    correlation_id = headers["correlation-id"]
    producer.send(
        headers["reply-topic"].decode(),
        record.value,
        key=correlation_id,
        headers=[("correlation-id", correlation_id)],
    )


if __name__ == "__main__":
    main()
