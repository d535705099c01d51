"""
The responder alone: how fast it replies, compared with a plain loop of kafka-python.

All requests are in their topic before it starts, so it never waits for one.
"""

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from rendezvous.contract import Request
from rendezvous.correlation import CorrelationIds, epoch_ms, new_node
from tools.bench.load.bodies import body
from tools.bench.load.wrk import LoadFailed
from tools.bench.measure.usage import cpu_s_of
from tools.bench.programs.counters import counts_in
from tools.bench.report.progress import Progress
from tools.bench.report.summary import Spread
from tools.bench.servers import Servers
from tools.bench.setup import TOPICS
from tools.devstack.process.child import Child

COUNT = 50_000
BODY_BYTES = 200
#: Deadline of the requests, in seconds: the longest that a responder takes for that of a gateway.
DEADLINE_S = 58
LIMIT_S = 50.0
SAMPLE_S = 0.05
#: Estimated duration of a round, in seconds.
ROUND_S = 40.0
RESPONDER, PLAIN = "responder", "plain"


@dataclass(frozen=True)
class Throughput:
    """Replies, duration, CPU seconds and counts of one process in one round."""

    round: int
    subject: str  # RESPONDER or PLAIN
    records: int
    duration_s: float
    cpu_s: float
    counts: dict[str, int]

    @property
    def per_s(self) -> float:
        return self.records / self.duration_s if self.duration_s else 0.0

    @property
    def cpu_us(self) -> float:
        """CPU time per record, in us."""
        return 1e6 * self.cpu_s / self.records if self.records else 0.0

    @property
    def produce_requests(self) -> float:
        """Produce requests per 1,000 replies."""
        return 1e3 * self.counts.get("ProduceRequest", 0) / self.records if self.records else 0.0

    @property
    def idle_polls(self) -> int:
        """Polls that waited although requests were there."""
        return self.counts.get("idle_polls", 0)


@dataclass(frozen=True)
class Sample:
    """Number of replies and CPU seconds used, at one moment."""

    at_s: float
    replies: int
    cpu_s: float


def throughput(
    samples: Sequence[Sample], number: int, subject: str, counts: dict[str, int]
) -> Throughput:
    """Return the throughput from the first reply that was seen to the last."""
    begun = [sample for sample in samples if sample.replies]
    if not begun:
        return Throughput(number, subject, 0, 0.0, 0.0, counts)
    first, maximum = begun[0], begun[-1].replies
    last = next(sample for sample in begun if sample.replies == maximum)
    return Throughput(
        number,
        subject,
        last.replies - first.replies,
        last.at_s - first.at_s,
        last.cpu_s - first.cpu_s,
        counts,
    )


def measure(servers: Servers, rounds: int, count: int = COUNT) -> list[Throughput]:
    """Let both programs reply to *count* requests in each round."""
    progress = Progress(rounds * ROUND_S)
    found = []
    for number in range(1, rounds + 1):
        with servers.fresh(TOPICS) as prefix:
            _produce(servers, prefix, count)
            # Ours first: it drops requests that are past their deadline, the plain loop does not.
            both = [_respond(servers, prefix, count, number), _echo(servers, prefix, count, number)]
        found += both
        progress.done(ROUND_S)
        progress.print(f"round {number}/{rounds}  " + ", ".join(map(_line, both)))
    return found


def _line(one: Throughput) -> str:
    rate = f"{one.per_s:.0f} /s, {one.cpu_us:.0f} us of CPU each"
    return f"{one.subject}: {rate}, {one.idle_polls} idle polls"


def _produce(servers: Servers, prefix: str, count: int) -> None:
    """Publish *count* requests such as a gateway's."""
    ids, node = CorrelationIds(secrets.token_hex(32)), new_node()
    deadline_ms = epoch_ms() + DEADLINE_S * 1000
    content = body(BODY_BYTES)
    producer = KafkaProducer(**servers.connection, linger_ms=20, batch_size=100_000)
    try:
        for _ in range(count):
            request = Request(
                ids.issue(node, deadline_ms),
                f"{prefix}echo",
                f"{prefix}replies",
                deadline_ms,
                content,
                content_type="text/plain",
                path="/echo",
                headers=(("x-request-id", secrets.token_hex(8)),),
            )
            key, value, headers = request.encode()
            producer.send(request.topic, value, key=key, headers=headers)
        producer.flush(timeout=60)
    finally:
        producer.close(timeout=5)


def _respond(servers: Servers, prefix: str, count: int, number: int) -> Throughput:
    # As in the Procfile.
    env = {"KAFKA_PREFIX": prefix, "MALLOC_ARENA_MAX": "1"}
    command = "python -m tools.bench.programs.counting_responder"
    return _run(servers, RESPONDER, command, env, prefix, count, number)


def _echo(servers: Servers, prefix: str, count: int, number: int) -> Throughput:
    arguments = f"{servers.kafka.address} {prefix}echo {prefix}plain"
    command = f"python -m tools.bench.programs.plain_responder {arguments}"
    return _run(servers, PLAIN, command, {}, prefix, count, number)


def _run(
    servers: Servers,
    subject: str,
    command: str,
    env: dict[str, str],
    prefix: str,
    count: int,
    number: int,
) -> Throughput:
    name = f"{subject}-alone"
    child = servers.start(name, command, env)
    try:
        samples = list(_until_replied(servers, f"{prefix}replies", child, count))
    finally:
        child.stop()
    return throughput(samples, number, subject, counts_in(servers.log(name)))


def _until_replied(servers: Servers, topic: str, child: Child, count: int) -> Iterator[Sample]:
    with closing(KafkaConsumer(**servers.connection)) as consumer:
        partitions = [
            TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()
        ]

        def end() -> int:
            return sum(consumer.end_offsets(partitions).values())

        before, limit_s = end(), time.monotonic() + LIMIT_S
        while True:
            sample = Sample(time.monotonic(), end() - before, cpu_s_of(child.pid))
            yield sample
            if sample.replies >= count:
                return
            if sample.at_s > limit_s:
                raise LoadFailed(f"{sample.replies} of {count} replies within {LIMIT_S:g} s")
            time.sleep(SAMPLE_S)


def ratios(found: Sequence[Throughput]) -> list[float]:
    """Return the ratio of the rates, responder to plain loop, in each round."""
    rates = {(one.subject, one.round): one.per_s for one in found}
    rounds = dict.fromkeys(one.round for one in found)
    return [rates[RESPONDER, n] / rates[PLAIN, n] for n in rounds if rates[PLAIN, n]]


def table(found: Sequence[Throughput]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"{BODY_BYTES} B requests, medians over the rounds (minimum..maximum)"
    for subject in (PLAIN, RESPONDER):
        own = [one for one in found if one.subject == subject]
        per_s, cpu_us = Spread.of([o.per_s for o in own]), Spread.of([o.cpu_us for o in own])
        produced = Spread.of([o.produce_requests for o in own])
        yield (
            f"{subject:9} {per_s:.0f} records/s, {cpu_us:.1f} us of CPU each, "
            f"{produced:.0f} produce requests per 1,000 replies"
        )
    yield f"responder/plain: {Spread.of(ratios(found)):.2f}"


def as_json(found: Sequence[Throughput]) -> dict[str, Any]:
    """Return results and ratios."""
    return {
        "results": [asdict(one) | {"per_s": one.per_s, "cpu_us": one.cpu_us} for one in found],
        "responder_over_plain": ratios(found),
    }
