"""
Counts what a kafka-python program sends, and how often its consumer idles.

``idle_polls`` are those that waited and returned nothing although records came later;
``most_unacknowledged`` is the largest number of records that were sent and not acknowledged yet.
"""

import json
import threading
from collections import Counter
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka.net.manager import KafkaConnectionManager

from tools.output import print_line


class Counters:
    """Counts of this process, from the creation of this object on."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._empty_polls = 0  # since the last one with records
        self._count_requests()
        self._count_polls()
        self._count_unacknowledged()

    def print(self) -> None:
        """Print COUNTS and, as JSON, the counts."""
        print_line(f"COUNTS {json.dumps(self._counts)}")

    def _count_requests(self) -> None:
        send, counts = KafkaConnectionManager.send, self._counts

        def counting(manager: Any, request: Any, *args: Any, **options: Any) -> Any:
            counts[type(request).__name__] += 1
            return send(manager, request, *args, **options)

        KafkaConnectionManager.send = counting

    def _count_polls(self) -> None:
        poll, pause, counts = KafkaConsumer.poll, KafkaConsumer.pause, self._counts

        def counting_poll(consumer: Any, timeout_ms: float = 0, **options: Any) -> Any:
            batch = poll(consumer, timeout_ms, **options)
            counts["polls"] += 1
            if not batch:
                self._empty_polls += timeout_ms > 0
                return batch
            # Before the first records it waited for its partitions.
            counts["idle_polls"] += self._empty_polls if counts["polls_with_records"] else 0
            counts["polls_with_records"] += 1
            self._empty_polls = 0
            return batch

        def counting_pause(consumer: Any, *partitions: Any) -> None:
            counts["pauses"] += 1
            pause(consumer, *partitions)

        KafkaConsumer.poll, KafkaConsumer.pause = counting_poll, counting_pause

    def _count_unacknowledged(self) -> None:
        send, counts, lock = KafkaProducer.send, self._counts, threading.Lock()
        unacknowledged = 0

        def change(by: int) -> None:
            nonlocal unacknowledged
            with lock:
                unacknowledged += by
                counts["most_unacknowledged"] = max(counts["most_unacknowledged"], unacknowledged)

        def counting_send(producer: Any, *args: Any, **options: Any) -> Any:
            change(1)
            future = send(producer, *args, **options)
            future.add_both(lambda _: change(-1))
            return future

        KafkaProducer.send = counting_send


def counts_in(log: str) -> dict[str, int]:
    """Return the counts that were printed into *log*."""
    (line,) = [line for line in log.splitlines() if line.startswith("COUNTS ")]
    found: dict[str, int] = json.loads(line.removeprefix("COUNTS "))
    return found
