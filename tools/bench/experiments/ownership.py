"""
Who reads which partition of the reply topic: by assignment, or by a consumer group.

    python -m tools.bench.experiments.ownership

Four members read the four partitions of a topic while they are replaced one by one, as in a rolling
deploy. Each of the others should read on, and in its own partition: the replies that it waits for
go there. Printed is the longest time in which one of them read nothing, although records came all
the time, and how often a partition went to another member that was running already. Needs Java 17
and Maven.
"""

import itertools
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

from kafka import KafkaProducer

from rendezvous.kafka_client.consuming.consumer import ResilientConsumer
from rendezvous.kafka_client.consuming.opening import consumer_options
from rendezvous.kafka_client.consuming.partition_consumer import PartitionConsumer
from rendezvous.kafka_client.patches.consumer import PatchedConsumer
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.topics import create_topics
from tools.devstack.process.child import Child
from tools.devstack.waiting import wait_until
from tools.output import print_line

TOPIC, MEMBERS = "replies", 4
KINDS = ("assignment", "group")
FETCH_MAX_WAIT_MS = 100
#: Interval of the records in each partition, in seconds.
RECORD_S = 0.02
#: Time for the members to settle, before the first replacement and after each, in seconds.
SETTLE_S = 5.0
START_LIMIT_S, STOP_LIMIT_S = 40.0, 15.0


def read(kind: str, server: str, number: int) -> None:
    """Read as member *number*; print the time of each batch until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    group = "members" if kind == "group" else None
    options = consumer_options({"bootstrap_servers": [server]}, group, FETCH_MAX_WAIT_MS, "member")
    new_consumer = partial(PatchedConsumer, **options)
    consumer: ResilientConsumer
    if kind == "group":
        consumer = ResilientConsumer.open([TOPIC], new_consumer)
    else:
        consumer = PartitionConsumer.open_one(TOPIC, new_consumer, lambda _: number)
    while not stop.is_set():
        for found in consumer.poll():
            print_line(f"{time.monotonic()} {found.partition}")
    consumer.close()


@contextmanager
def records(server: str) -> Iterator[None]:
    """Publish records to all partitions for the block."""
    stop = threading.Event()

    def publish() -> None:
        with closing(KafkaProducer(bootstrap_servers=[server])) as producer:
            while not stop.wait(RECORD_S):
                for partition in range(MEMBERS):
                    producer.send(TOPIC, b"reply", partition=partition)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Members:
    """The running members, and the file of times of each."""

    def __init__(self, kind: str, server: str, folder: Path) -> None:
        self._kind, self._server, self._folder = kind, server, folder
        self._counter = itertools.count()
        self._running: dict[int, tuple[Child, Path]] = {}

    def start(self, number: int) -> None:
        """Start member *number*; return when it reads."""
        file = self._folder / f"{self._kind}-{next(self._counter)}"
        command = [sys.executable, "-m", __spec__.name, self._kind, self._server, str(number)]
        self._running[number] = (Child.start(command, output=file), file)
        assert wait_until(lambda: bool(_times(file)), START_LIMIT_S), file.read_text()

    def stop(self, number: int) -> None:
        """Stop member *number*, which leaves its group."""
        self._running.pop(number)[0].stop(STOP_LIMIT_S)

    def stop_all(self) -> None:
        """Stop all running members."""
        for number in list(self._running):
            self.stop(number)

    def longest_stop_s(self, replaced: int, since_s: float) -> float:
        """Return the longest time without a record of a member other than *replaced*."""
        files = [file for number, (_, file) in self._running.items() if number != replaced]
        return max(_longest_gap_s(_times(file), since_s) for file in files)

    def partitions(self) -> dict[int, set[int]]:
        """Return the partitions that each running member has read in the last second."""
        since_s = time.monotonic() - 1
        return {
            number: {partition for at_s, partition in _reads(file) if at_s > since_s}
            for number, (_, file) in self._running.items()
        }


def _reads(file: Path) -> list[tuple[float, int]]:
    """Return the time and the partition of each batch."""
    lines = file.read_text().splitlines(keepends=True)
    fields = [line.split() for line in lines if line.endswith("\n") and line[0].isdigit()]
    return [(float(at_s), int(partition)) for at_s, partition in fields]


def _times(file: Path) -> list[float]:
    return [at_s for at_s, _ in _reads(file)]


def _longest_gap_s(times: list[float], since_s: float) -> float:
    recent = [since_s, *(moment_s for moment_s in times if moment_s > since_s)]
    return max((after - before for before, after in pairwise(recent)), default=0.0)


def measure(kind: str, server: str, folder: Path) -> tuple[list[float], int]:
    """Return the longest stop of the others in each replacement, in seconds, and the moves."""
    members = Members(kind, server, folder)
    found = []
    moves = 0
    try:
        for number in range(MEMBERS):
            members.start(number)
        time.sleep(SETTLE_S)
        for number in range(MEMBERS):
            before, since_s = members.partitions(), time.monotonic()
            members.stop(number)
            time.sleep(SETTLE_S)
            meanwhile = members.partitions()
            members.start(number)
            time.sleep(SETTLE_S)
            after = members.partitions()
            found.append(members.longest_stop_s(number, since_s))
            others = set(before) - {number}
            moves += sum(len(meanwhile[n] - before[n]) for n in others)
            moves += sum(len(after[n] - meanwhile[n]) + len(before[n] - after[n]) for n in others)
    finally:
        members.stop_all()
    return found, moves


def main() -> None:
    """Measure both and print the stops."""
    if len(sys.argv) > 1:
        read(sys.argv[1], sys.argv[2], int(sys.argv[3]))
        return
    with ApacheKafka() as broker, tempfile.TemporaryDirectory() as folder:
        create_topics({"bootstrap_servers": [broker.address]}, [TOPIC], MEMBERS)
        with records(broker.address):
            for kind in KINDS:
                stops_s, moves = measure(kind, broker.address, Path(folder))
                listed = ", ".join(f"{stop_s:.2f}" for stop_s in stops_s)
                print_line(
                    f"{kind:10} longest stop of the other members in each of {MEMBERS} "
                    f"replacements: {listed} s; {moves} partitions went to or from another of them"
                )


if __name__ == "__main__":
    main()
