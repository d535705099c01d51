"""
The floor: request and reply over the same broker and the same responder, no HTTP, no Redis.

    python -m tools.bench.load.floor BROKER TOPIC REPLY_TOPIC
        [--in-flight N] [--bytes N] [--delay-s S] [--seconds S] [--warm-up-s S]

One process, one producer, one consumer, --in-flight requests under way at any time. It says BEGIN
after its warm-up, END when the seconds are over, and then RESULT with what it saw, as JSON.
"""

import argparse
import json
import secrets
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tools.bench.load import bodies
from tools.bench.load.latencies import distribution

#: Nobody waits longer than that, which is also what the deadline of a request says.
TIMEOUT_S = 10.0
#: Short, as is the fetch: kafka-python may overlook one that is answered while it polls anew.
POLL_MS = 4
FETCH_MAX_WAIT_MS = 20

Header = tuple[str, bytes]


class Wire(Protocol):
    """A producer of requests and a consumer of their replies."""

    def send(self, correlation_id: bytes, body: bytes, headers: list[Header]) -> None:
        """Publish a request; do not wait until it is."""

    def arrived(self) -> Iterable[bytes]:
        """Return the correlation ids of the replies that came, after a moment if none did."""

    def close(self) -> None:
        """Close the clients."""


@dataclass
class Seen:
    """What a run saw."""

    duration_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0  # not answered in TIMEOUT_S


class Floor:
    """
    Keeps requests under way.

    Args:
        wire: who carries them.
        reply_topic: where the responder replies to.
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
        at_end: Callable[[], None] = lambda: None,
    ) -> Seen:
        """
        Keep *in_flight* requests under way for *duration_s*, and wait for the last ones.

        Only what is answered within *duration_s* counts, as with wrk.

        Args:
            spread_s: the requests begin one after the other within that time.
            at_end: called as soon as *duration_s* are over.
        """
        seen = Seen()
        begin_s = time.perf_counter()
        begun = 0
        while (now_s := time.perf_counter()) < begin_s + duration_s:
            while begun < in_flight and now_s >= begin_s + spread_s * begun / in_flight:
                self._send(body)
                begun += 1
            for latency_s in self._answered():
                seen.latencies_s.append(latency_s)
                self._send(body)
        seen.duration_s = time.perf_counter() - begin_s
        at_end()
        while self._sent_s and time.perf_counter() < begin_s + duration_s + TIMEOUT_S:
            list(self._answered())
        seen.failed = len(self._sent_s)
        self._sent_s.clear()
        return seen

    def _answered(self) -> Iterable[float]:
        for correlation_id in self._wire.arrived():
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
    """The floor of what we are made of: kafka-python as it comes."""

    def __init__(self, broker: str, topic: str, reply_topic: str) -> None:
        self._topic = topic
        self._producer = KafkaProducer(bootstrap_servers=broker)
        self._consumer = KafkaConsumer(
            bootstrap_servers=broker, fetch_max_wait_ms=FETCH_MAX_WAIT_MS
        )
        numbers = self._consumer.partitions_for_topic(reply_topic) or ()
        self._consumer.assign([TopicPartition(reply_topic, number) for number in numbers])
        self._consumer.seek_to_end()
        self._consumer.poll(timeout_ms=500)

    def send(self, correlation_id: bytes, body: bytes, headers: list[Header]) -> None:
        self._producer.send(self._topic, body, key=correlation_id, headers=headers)

    def arrived(self) -> Iterable[bytes]:
        for records in self._consumer.poll(timeout_ms=POLL_MS).values():
            for record in records:
                yield dict(record.headers)["correlation-id"]

    def close(self) -> None:
        self._producer.close(timeout=5)
        self._consumer.close()


def main(new_wire: Callable[[str, str, str], Wire]) -> None:
    """Run the floor on what *new_wire* returns for a broker, a topic and a reply topic."""
    options = _options()
    wire = new_wire(options.broker, options.topic, options.reply_topic)
    floor = Floor(wire, options.reply_topic)
    floor.run(min(options.in_flight, 16), bodies.body(200), options.warm_up_s)
    body = bodies.body(options.bytes, options.delay_s)
    _say("BEGIN")
    seen = floor.run(
        options.in_flight,
        body,
        options.seconds,
        spread_s=options.delay_s,
        at_end=lambda: _say("END"),
    )
    found = {
        "requests": len(seen.latencies_s),
        "duration_s": seen.duration_s,
        "percentiles_s": distribution(seen.latencies_s, options.in_flight, seen.duration_s),
        "failed": seen.failed,
    }
    _say(f"RESULT {json.dumps(found)}")
    wire.close()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Request and reply with nothing in between.")
    add = parser.add_argument
    add("broker", help="host:port")
    add("topic", help="what the responder reads")
    add("reply_topic", help="where it replies to")
    add("--in-flight", type=int, default=64, help="requests under way (%(default)s)")
    add("--bytes", type=int, default=200, help="of each body (%(default)s)")
    add("--delay-s", type=float, default=0.0, help="of the responder (%(default)s)")
    add("--seconds", type=float, default=4.0, help="what is measured (%(default)s)")
    add("--warm-up-s", type=float, default=1.0, help="before that (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main(KafkaPythonWire)
