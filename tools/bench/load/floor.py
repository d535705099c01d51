"""
The floor: request and reply over the same broker and responder, without HTTP and Redis.

    python -m tools.bench.load.floor BROKER TOPIC REPLY_TOPIC
        [--in-flight N] [--bytes N] [--delay-s S] [--seconds S] [--warm-up-s S]
        [--fetch-max-wait-ms N]

One producer and one consumer keep --in-flight requests pending. It prints BEGIN after the warm-up,
END after --seconds, and then RESULT with the load as JSON.
"""

import argparse
import json
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tools.bench.load import bodies
from tools.bench.load.latencies import distribution
from tools.output import print_line

#: Timeout of a request, also sent as its deadline.
TIMEOUT_S = 10.0
#: Short, like the fetch: kafka-python may overlook a fetch answered while it starts a poll.
POLL_MS = 4
FETCH_MAX_WAIT_MS = 20

Header = tuple[str, bytes]


class Wire(Protocol):
    """A producer of requests and a consumer of their replies."""

    def send(self, correlation_id: bytes, body: bytes, headers: list[Header]) -> None:
        """Publish a request without waiting for the acknowledgement."""

    def poll(self) -> Iterable[bytes]:
        """Return the correlation ids of new replies; waits briefly if there are none."""

    def close(self) -> None:
        """Close the clients."""


@dataclass
class FloorRun:
    """Latencies and failures of one run."""

    duration_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0  # no reply within TIMEOUT_S


class Floor:
    """
    Keeps a number of requests pending.

    Args:
        wire: the Kafka clients.
        reply_topic: sent with each request.
    """

    def __init__(self, wire: Wire, reply_topic: str) -> None:
        self._wire = wire
        self._reply_topic = reply_topic.encode()
        self._sent_s: dict[bytes, float] = {}

    def run(
        self,
        in_flight: int,
        body: bytes,
        duration_s: float,
        *,
        spread_s: float = 0.0,
        on_end: Callable[[], None] = lambda: None,
    ) -> FloorRun:
        """
        Keep *in_flight* requests pending for *duration_s*, and wait for the last replies.

        Only replies within *duration_s* count, as with wrk.

        Args:
            spread_s: time over which the first requests are spread.
            on_end: called after *duration_s*.
        """
        found = FloorRun()
        started_s = time.perf_counter()
        first_sent = 0
        while (now_s := time.perf_counter()) < started_s + duration_s:
            while first_sent < in_flight and now_s >= started_s + spread_s * first_sent / in_flight:
                self._send(body)
                first_sent += 1
            for latency_s in self._latencies():
                found.latencies_s.append(latency_s)
                self._send(body)
        found.duration_s = time.perf_counter() - started_s
        on_end()
        while self._sent_s and time.perf_counter() < started_s + duration_s + TIMEOUT_S:
            list(self._latencies())
        found.failed = len(self._sent_s)
        self._sent_s.clear()
        return found

    def _latencies(self) -> Iterable[float]:
        for correlation_id in self._wire.poll():
            sent_s = self._sent_s.pop(correlation_id, None)
            if sent_s is not None:
                yield time.perf_counter() - sent_s

    def _send(self, body: bytes) -> None:
        correlation_id = secrets.token_hex(16).encode()
        deadline_ms = int((time.time() + TIMEOUT_S) * 1000)
        headers = [
            ("correlation-id", correlation_id),
            ("reply-topic", self._reply_topic),
            ("deadline", b"%d" % deadline_ms),
        ]
        self._sent_s[correlation_id] = time.perf_counter()
        self._wire.send(correlation_id, body, headers)


class KafkaPythonWire:
    """The clients of kafka-python with its defaults."""

    def __init__(self, broker: str, topic: str, reply_topic: str, fetch_max_wait_ms: int) -> None:
        self._topic = topic
        self._producer = KafkaProducer(bootstrap_servers=broker)
        self._consumer = KafkaConsumer(
            bootstrap_servers=broker, fetch_max_wait_ms=fetch_max_wait_ms
        )
        numbers = self._consumer.partitions_for_topic(reply_topic) or ()
        self._consumer.assign([TopicPartition(reply_topic, number) for number in numbers])
        self._consumer.seek_to_end()
        self._consumer.poll(timeout_ms=500)

    def send(self, correlation_id: bytes, body: bytes, headers: list[Header]) -> None:
        self._producer.send(self._topic, body, key=correlation_id, headers=headers)

    def poll(self) -> Iterable[bytes]:
        for records in self._consumer.poll(timeout_ms=POLL_MS).values():
            for record in records:
                yield dict(record.headers)["correlation-id"]

    def close(self) -> None:
        self._producer.close(timeout=5)
        self._consumer.close()


def main(new_wire: Callable[[str, str, str, int], Wire]) -> None:
    """Run the floor; *new_wire* takes broker, topic, reply topic and the maximum fetch wait."""
    options = _options()
    topics = options.topic, options.reply_topic
    wire = new_wire(options.broker, *topics, options.fetch_max_wait_ms)
    floor = Floor(wire, options.reply_topic)
    floor.run(min(options.in_flight, 16), bodies.body(200), options.warm_up_s)
    body = bodies.body(options.bytes, options.delay_s)
    print_line("BEGIN")
    run = floor.run(
        options.in_flight,
        body,
        options.seconds,
        spread_s=options.delay_s,
        on_end=lambda: print_line("END"),
    )
    load = {
        "requests": len(run.latencies_s),
        "duration_s": run.duration_s,
        "percentiles_s": distribution(run.latencies_s, options.in_flight, run.duration_s),
        "failed": run.failed,
    }
    print_line(f"RESULT {json.dumps(load)}")
    wire.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Request and reply over Kafka alone.")
    add = parser.add_argument
    add("broker", help="host:port")
    add("topic", help="topic that the responder reads")
    add("reply_topic", help="topic of the replies")
    add("--in-flight", type=int, default=64, help="pending requests (%(default)s)")
    add("--bytes", type=int, default=200, help="size of each body (%(default)s)")
    add("--delay-s", type=float, default=0.0, help="delay of the responder (%(default)s)")
    add("--seconds", type=float, default=4.0, help="measured time (%(default)s)")
    add("--warm-up-s", type=float, default=1.0, help="time before the measurement (%(default)s)")
    wait_ms = FETCH_MAX_WAIT_MS
    add("--fetch-max-wait-ms", type=int, default=wait_ms, help="of the consumer (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main(KafkaPythonWire)
