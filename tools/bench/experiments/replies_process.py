"""
The replies process alone: how fast it stores, compared with a consumer that only counts.

All replies are in their topic before the process starts, so it never waits for one.
"""

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kafka import KafkaProducer
from redis import Redis

from rendezvous.contract import Reply
from rendezvous.correlation import CorrelationIds, epoch_ms, new_node
from tools.bench.load.bodies import body
from tools.bench.load.reporting_process import reporting_process
from tools.bench.load.wrk import LoadFailed
from tools.bench.measure.usage import cpu_s_of
from tools.bench.report.progress import Progress
from tools.bench.report.summary import Spread
from tools.bench.servers import Servers
from tools.bench.setup import TOPICS

COUNT = 50_000
BODY_BYTES = 200
#: Deadline of the replies, in seconds: none expires within a round.
DEADLINE_S = 900
LIMIT_S = 120.0
SAMPLE_S = 0.02
#: Heartbeat keys of a replies process: one for the topic and one for each partition.
HEARTBEAT_KEYS = 5
#: Estimated duration of a round, in seconds.
ROUND_S = 30.0


@dataclass(frozen=True)
class Throughput:
    """Records, duration and CPU seconds of one process in one round."""

    round: int
    subject: str  # "replies" or "floor"
    records: int
    duration_s: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        return self.records / self.duration_s if self.duration_s else 0.0

    @property
    def cpu_us(self) -> float:
        """CPU time per record, in us."""
        return 1e6 * self.cpu_s / self.records if self.records else 0.0


@dataclass(frozen=True)
class Sample:
    """Number of Redis keys and CPU seconds used, at one moment."""

    at_s: float
    keys: int
    cpu_s: float


def throughput(
    samples: Sequence[Sample], number: int, heartbeat_keys: int = HEARTBEAT_KEYS
) -> Throughput:
    """Return the throughput from the first stored reply to the last."""
    filled = [sample for sample in samples if sample.keys > heartbeat_keys]
    if not filled:
        return Throughput(number, "replies", 0, 0.0, 0.0)
    first, maximum = filled[0], max(sample.keys for sample in filled)
    last = next(sample for sample in filled if sample.keys == maximum)
    return Throughput(
        number, "replies", last.keys - first.keys, last.at_s - first.at_s, last.cpu_s - first.cpu_s
    )


def measure(servers: Servers, rounds: int, count: int = COUNT) -> list[Throughput]:
    """Let both processes read *count* replies in each round."""
    progress = Progress(rounds * ROUND_S)
    found = []
    for number in range(1, rounds + 1):
        with servers.fresh(TOPICS) as prefix:
            secret_key = secrets.token_hex(32)
            _produce(servers, f"{prefix}replies", secret_key, count)
            both = [_count(servers, prefix, count, number)]
            both.append(_store(servers, prefix, secret_key, count, number))
        found += both
        progress.done(ROUND_S)
        progress.print(f"round {number}/{rounds}  " + ", ".join(map(_line, both)))
    return found


def _line(one: Throughput) -> str:
    return f"{one.subject}: {one.per_s:.0f} /s, {one.cpu_us:.0f} us of CPU each"


def _produce(servers: Servers, topic: str, secret_key: str, count: int) -> None:
    ids, node = CorrelationIds(secret_key), new_node()
    deadline_ms = epoch_ms() + DEADLINE_S * 1000
    content = body(BODY_BYTES)
    producer = KafkaProducer(**servers.connection, linger_ms=20, batch_size=100_000)
    try:
        for _ in range(count):
            correlation_id = ids.issue(node, deadline_ms)
            reply = Reply(correlation_id, content, headers=(("content-type", "text/plain"),))
            value, headers = reply.encode()
            producer.send(topic, value, key=correlation_id.encode(), headers=headers)
        producer.flush(timeout=60)
    finally:
        producer.close(timeout=5)


def _count(servers: Servers, prefix: str, count: int, number: int) -> Throughput:
    arguments = f"{servers.kafka.address} {prefix}replies {prefix}count {count}"
    with reporting_process(
        f"python -m tools.bench.programs.counting_consumer {arguments}"
    ) as counter:
        found = json.loads(counter.wait_for("RESULT", LIMIT_S))
    return Throughput(number, "floor", **found)


def _store(servers: Servers, prefix: str, secret_key: str, count: int, number: int) -> Throughput:
    env = {"KAFKA_PREFIX": prefix, "SECRET_KEY": secret_key, "REPLIES_MODE": "group"}
    child = servers.start("replies-alone", "python -m replies", env)
    try:
        samples = list(_until_stored(servers.redis, child.pid, count))
    finally:
        child.stop()
    return throughput(samples, number)


def _until_stored(redis: Redis, pid: int, count: int) -> Iterator[Sample]:
    limit_s = time.monotonic() + LIMIT_S
    while True:
        sample = Sample(time.monotonic(), int(redis.dbsize()), cpu_s_of(pid))
        yield sample
        if sample.keys >= count:
            return
        if sample.at_s > limit_s:
            raise LoadFailed(f"{sample.keys} of {count} replies stored in {LIMIT_S:g} s")
        time.sleep(SAMPLE_S)


def ratios(found: Sequence[Throughput]) -> list[float]:
    """Return the ratio of the rates, replies process to floor, in each round."""
    rates = {(one.subject, one.round): one.per_s for one in found}
    rounds = dict.fromkeys(one.round for one in found)
    return [rates["replies", n] / rates["floor", n] for n in rounds if rates["floor", n]]


def table(found: Sequence[Throughput]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"{BODY_BYTES} B replies, medians over the rounds (minimum..maximum)"
    for subject in ("floor", "replies"):
        own = [one for one in found if one.subject == subject]
        per_s, cpu_us = Spread.of([o.per_s for o in own]), Spread.of([o.cpu_us for o in own])
        yield f"{subject:8} {per_s:.0f} records/s, {cpu_us:.1f} us of CPU each"
    yield f"replies/floor: {Spread.of(ratios(found)):.2f}"


def as_json(found: Sequence[Throughput]) -> dict[str, Any]:
    """Return results and ratios."""
    return {
        "results": [asdict(one) | {"per_s": one.per_s, "cpu_us": one.cpu_us} for one in found],
        "replies_over_floor": ratios(found),
    }
