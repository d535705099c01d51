"""
The replies process alone: how fast it stores prepared replies, beside a consumer that only counts.

The replies are in their topic before the process starts, which so never waits for any.
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
from tools.bench.load.wrk import LoadFailed, talking
from tools.bench.measure.usage import cpu_s_of
from tools.bench.report.progress import Progress
from tools.bench.report.summary import Spread
from tools.bench.servers import Servers
from tools.bench.subject import TOPICS

COUNT = 50_000
BODY_BYTES = 200
#: Long after the end of a round: none shall have expired.
DEADLINE_S = 900
LIMIT_S = 120.0
SAMPLE_S = 0.02
#: The keys by which a replies process says that it is there: the topic and its partitions.
OTHER_KEYS = 5
#: To estimate the time left.
ROUND_S = 30.0


@dataclass(frozen=True)
class Carried:
    """So many records in so many seconds, and the CPU seconds of the process."""

    round: int
    who: str  # "replies" or "floor"
    records: int
    duration_s: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        return self.records / self.duration_s if self.duration_s else 0.0

    @property
    def cpu_us(self) -> float:
        """The CPU of the process for one record."""
        return 1e6 * self.cpu_s / self.records if self.records else 0.0


@dataclass(frozen=True)
class Sample:
    """How many keys there were at a moment, and the CPU seconds used by then."""

    at_s: float
    keys: int
    cpu_s: float


def carried(samples: Sequence[Sample], number: int, other_keys: int = OTHER_KEYS) -> Carried:
    """Return what *samples* say of the time from the first stored reply to the last."""
    filled = [sample for sample in samples if sample.keys > other_keys]
    if not filled:
        return Carried(number, "replies", 0, 0.0, 0.0)
    first, most = filled[0], max(sample.keys for sample in filled)
    last = next(sample for sample in filled if sample.keys == most)
    return Carried(
        number,
        "replies",
        last.keys - first.keys,
        last.at_s - first.at_s,
        last.cpu_s - first.cpu_s,
    )


def measure(servers: Servers, rounds: int, count: int = COUNT) -> list[Carried]:
    """Let both carry *count* replies in each of *rounds*."""
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
        progress.say(f"round {number}/{rounds}  " + ", ".join(map(_line, both)))
    return found


def _line(one: Carried) -> str:
    return f"{one.who}: {one.per_s:.0f} /s, {one.cpu_us:.0f} us of CPU each"


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


def _count(servers: Servers, prefix: str, count: int, number: int) -> Carried:
    arguments = f"{servers.kafka.address} {prefix}replies {prefix}count {count}"
    with talking(f"python -m tools.bench.programs.counting_consumer {arguments}") as counter:
        found = json.loads(counter.wait_for("RESULT", LIMIT_S))
    return Carried(number, "floor", **found)


def _store(servers: Servers, prefix: str, secret_key: str, count: int, number: int) -> Carried:
    env = {"KAFKA_PREFIX": prefix, "SECRET_KEY": secret_key, "REPLIES_MODE": "group"}
    child = servers.start("replies-alone", "python -m replies", env)
    try:
        samples = list(_until_stored(servers.redis, child.pid, count))
    finally:
        child.stop()
    return carried(samples, number)


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


def ratios(found: Sequence[Carried]) -> list[float]:
    """Return the rate of the replies process over its floor's, round by round."""
    rates = {(one.who, one.round): one.per_s for one in found}
    rounds = dict.fromkeys(one.round for one in found)
    return [rates["replies", n] / rates["floor", n] for n in rounds if rates["floor", n]]


def table(found: Sequence[Carried]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"{BODY_BYTES} B replies, medians over the rounds (least..most)"
    for who in ("floor", "replies"):
        mine = [one for one in found if one.who == who]
        per_s, cpu_us = Spread.of([o.per_s for o in mine]), Spread.of([o.cpu_us for o in mine])
        yield f"{who:8} {per_s:.0f} records/s, {cpu_us:.1f} us of CPU each"
    yield f"replies/floor: {Spread.of(ratios(found)):.2f}"


def as_json(found: Sequence[Carried]) -> dict[str, Any]:
    """Return all of it."""
    return {
        "results": [asdict(one) | {"per_s": one.per_s, "cpu_us": one.cpu_us} for one in found],
        "replies_over_floor": ratios(found),
    }
