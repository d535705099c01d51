"""Load and faults on a deployment whose handler fails, and the accounts of it."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from tools.devstack.waiting import wait_until
from tools.output import print_line
from tools.soak.dead_letters.accounts import Accounts, Letter, Sent
from tools.soak.dead_letters.events import EventLog
from tools.soak.dead_letters.fates import MAX_ATTEMPTS, Fate, fate_of
from tools.soak.dead_letters.load import Load
from tools.soak.deployment import REPLY_TOPIC, Deployment
from tools.soak.faults.injector import FaultInjector
from tools.soak.faults.schedule import Kind, schedule
from tools.soak.load.tasks import TOPIC
from tools.soak.run import PROGRESS_S, RunFailed

DLQ_TOPIC = "dead-letters"
GROUP = "responder"
RESPONDER = "python -m tools.soak.dead_letters.responder"
ROUTES = Path(__file__).with_name("routes.toml")
#: Maximum time after the load until all records are finished and committed, in seconds.
FINISH_LIMIT_S = 120.0
EVENTS = "events.sqlite"

#: Kills twice as often as the others, and one restart of the broker for about eight faults.
FAULTS = (
    Kind("kill responder", (0.2, 1.5), 4.0),
    Kind("kill responder", (0.2, 1.5), 4.0),
    Kind("kill responder", (0.2, 1.5), 4.0),
    Kind("restart responder", (0.2, 1.0), 4.0),
    Kind("pause responder", (1.5, 9.0), 4.0),
    Kind("pause kafka", (1.5, 4.0), 6.0),
    Kind("reset kafka", (0.0, 0.0), 4.0),
    Kind("kill kafka", (5.0, 5.0), 10.0),
)


def settings_of(folder: Path) -> dict[str, str]:
    """Return the settings of the deployment in which handlers fail."""
    return {
        "ROUTES_FILE": str(ROUTES),
        "RESPONDER_DLQ_TOPIC": DLQ_TOPIC,
        "RESPONDER_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
        # Longer than a broker may need to start: a responder gives up a reply after it.
        "REPLY_RETENTION_S": "300",
        "SOAK_EVENTS": str((folder / EVENTS).absolute()),
    }


def measure(deployment: Deployment, kafka: str, minutes: float, per_s: float) -> Accounts:
    """
    Run load and faults, and return the accounts once all records are finished.

    Args:
        kafka: "embedded", whose broker is not killed because it would lose its records, or
            "apache".

    Raises:
        RunFailed: when a fault could not be injected, or records stayed unfinished.
    """
    folder = deployment.folder
    kinds = [kind for kind in FAULTS if kafka == "apache" or kind.name != "kill kafka"]
    faults = schedule(deployment.seed, minutes, kinds)
    injector = FaultInjector(deployment, faults, folder / "faults.jsonl")
    load = Load(deployment.ports, deployment.connection, per_s)
    start_s = time.monotonic()
    load.start()
    injector.start(start_s, start_s + minutes * 60)
    try:
        while (now_s := time.monotonic()) < start_s + minutes * 60 and injector.failure is None:
            time.sleep(min(PROGRESS_S, start_s + minutes * 60 - now_s))
            print_line(f"{now_s - start_s:5.0f} s  {len(load.responses)} responses")
    finally:
        injector.stop()
        load.stop()
    if injector.failure is not None:
        raise RunFailed(f"{injector.current}: {injector.failure!r}") from injector.failure
    crashed = [*injector.crashed, *deployment.restart_ended()]
    if crashed:
        raise RunFailed(f"ended by themselves: {', '.join(crashed)}")
    print_line(f"{len(injector.injected)} faults; waiting until all records are finished")
    if not wait_until(lambda: _is_finished(deployment), FINISH_LIMIT_S):
        raise RunFailed(f"records are unfinished {FINISH_LIMIT_S:g} s after the load")
    deployment.stop_processes()
    return _accounts(deployment, load)


def _is_finished(deployment: Deployment) -> bool:
    """Return whether the responders have committed all that is in the request topic."""
    consumer = KafkaConsumer(**deployment.connection, group_id=GROUP, enable_auto_commit=False)
    with closing(consumer):
        partitions = [TopicPartition(TOPIC, p) for p in consumer.partitions_for_topic(TOPIC)]
        ends = consumer.end_offsets(partitions)
        return all((consumer.committed(p) or 0) >= end for p, end in ends.items())


def _accounts(deployment: Deployment, load: Load) -> Accounts:
    sent = [_sent(record, deployment.seed) for record in _records(deployment, TOPIC)]
    answered = []
    for record in _records(deployment, REPLY_TOPIC):
        headers = _headers(record)
        if headers.get("status") == "200":
            answered.append(headers["correlation-id"])
    letters = [_letter(record) for record in _records(deployment, DLQ_TOPIC)]
    with closing(EventLog(deployment.folder / EVENTS)) as log:
        return Accounts(sent, answered, letters, log.all(), load.responses)


def _sent(record: Any, seed: int) -> Sent:
    cid = _headers(record).get("correlation-id", "")
    is_request = record.value.isdigit()
    fate = fate_of(seed, int(record.value)) if is_request else Fate.MALFORMED
    return Sent(record.partition, record.offset, cid, fate)


def _letter(record: Any) -> Letter:
    headers = _headers(record)
    return Letter(
        int(headers["dead-letter-partition"]),
        int(headers["dead-letter-offset"]),
        int(headers["dead-letter-time"]),
        headers["dead-letter-reason"],
    )


def _headers(record: Any) -> dict[str, str]:
    return {name: (value or b"").decode() for name, value in record.headers}


def _records(deployment: Deployment, topic: str) -> Iterator[Any]:
    """Yield all records of *topic*."""
    with closing(KafkaConsumer(**deployment.connection, auto_offset_reset="earliest")) as consumer:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        while any(consumer.position(p) < end for p, end in ends.items()):
            for records in consumer.poll(timeout_ms=500).values():
                yield from records


def table(accounts: Accounts) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"records sent          {len(accounts.sent):7}"
    for outcome, count in sorted(accounts.outcomes.items()):
        again = " (delivered again)" if "+" in outcome else ""
        yield f"  {outcome:19} {count:7}{again}"
    yield f"fates                 {_counted(one.fate for one in accounts.sent)}"
    deliveries = sum(accounts.taken.values())
    repeated = sum(1 for count in accounts.taken.values() if count > 1)
    yield f"deliveries            {deliveries:7}, {repeated} records more than once"
    distinct = len(set(accounts.letters))
    yield f"dead letters          {distinct:7}, and {accounts.copies} copies of the same"
    seen = (f"{one.status} {one.title}".strip() for one in accounts.responses)
    yield f"responses             {_counted(seen)}"


def _counted(values: Iterable[str]) -> str:
    return ", ".join(f"{value} {count}" for value, count in sorted(Counter(values).items()))
