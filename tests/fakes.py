"""
Stand-ins for what the product takes in its constructors, with the same methods and none of the I/O.

They are passed to the same constructors, and raise the errors of the library that a test chooses.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from kafka import TopicPartition
from kafka import errors as kafka_errors
from kafka.structs import OffsetAndMetadata

from gateway.exchange.pending_request import PendingRequest, WaitOptions
from gateway.exchange.publisher import Publication
from gateway.exchange.requester import Requester
from rendezvous.contract import Reply, Request
from rendezvous.correlation import CorrelationIds
from rendezvous.kafka_client.patches.direct_consumer import UndecodableRecord
from rendezvous.kafka_client.producer import PublishRefused
from rendezvous.redis_store.replies import ReplyStore

Headers = list[tuple[str, bytes]]


def eventually(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Return as soon as *condition* holds; fail when it does not within *within_s*."""
    give_up_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_s, "the condition did not hold in time"
        time.sleep(0.002)


class Panic(BaseException):
    """What libraries in Rust raise for a fault of theirs: no Exception."""


def raising(error: BaseException) -> Callable[..., Any]:
    """Return a function that raises *error*."""

    def fail(*args: Any, **options: Any) -> Any:
        raise error

    return fail


def record_calls(monkeypatch: Any, owner: Any, name: str) -> list[tuple[Any, ...]]:
    """Return a list to which each call of a method of *owner* adds its arguments."""
    calls, method = [], getattr(owner, name)

    def recording(*args: Any, **options: Any) -> Any:
        calls.append(args)
        return method(*args, **options)

    monkeypatch.setattr(owner, name, recording)
    return calls


def altered(correlation_id: str) -> str:
    """Return *correlation_id* with its last character altered, still of the right shape."""
    return correlation_id[:-1] + ("A" if correlation_id[-1] != "A" else "B")


class WaitingClient:
    """A client that waits *timeout_s* for each reply."""

    def __init__(self, requester: Requester, timeout_s: float) -> None:
        self._requester = requester
        self._options = WaitOptions(timeout_s, timeout_s)

    def send_and_receive(self, new_request: Callable[[str, int], Request]) -> Reply:
        """Exchange the request that *new_request* returns for an id and a deadline in Unix ms."""
        request = new_request(*self._requester.issue_id(self._options))
        reply = self._requester.exchange(PendingRequest.start(request, self._options))
        assert reply is not None, "a client that did not ask for a 202 got one"
        return reply


class FakeClock:
    """A clock that the test sets: ``now_s`` is its time."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class FakeFuture:
    """What KafkaProducer.send() returns: settled by the test."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[object], object]] = []
        self._errbacks: list[Callable[[Exception], object]] = []
        self._settled = threading.Event()
        self._error: Exception | None = None

    def add_callback(self, callback: Callable[[object], object]) -> None:
        self._callbacks.append(callback)
        if self._settled.is_set() and self._error is None:
            callback(None)

    def add_errback(self, errback: Callable[[Exception], object]) -> None:
        self._errbacks.append(errback)
        if self._error is not None:
            errback(self._error)

    def get(self, timeout: float) -> None:
        assert self._settled.wait(timeout), "this send was not settled"
        if self._error is not None:
            raise self._error

    def succeed(self) -> "FakeFuture":
        self._settled.set()
        for callback in self._callbacks:
            callback(None)
        return self

    def fail(self, error: Exception) -> "FakeFuture":
        self._error = error
        self._settled.set()
        for errback in self._errbacks:
            errback(error)
        return self


@dataclass(frozen=True)
class Sent:
    """One call of FakeProducer.send()."""

    topic: str
    value: Any
    key: bytes | None
    headers: Headers
    future: FakeFuture
    partition: int | None = None

    def header(self, name: str) -> str:
        """Return the only header called *name*."""
        (value,) = [v for n, v in self.headers if n == name]
        return value.decode()


class FakeProducer:
    """
    A KafkaProducer or PatchedProducer that records what was sent.

    Args:
        outcomes: of the next sends, one each: an exception for send() to raise, or a future. When
            they are used up, sends are acknowledged.
    """

    def __init__(self, *outcomes: Exception | FakeFuture, **options: Any) -> None:
        self.options = options
        self.outcomes: deque[Exception | FakeFuture] = deque(outcomes)
        self.always: Exception | None = None
        self.sent: list[Sent] = []
        self.looked_up: list[str] = []
        self.partitions = [0]
        self.closed = False
        self.is_fatal = False
        self.has_an_id = True

    def partitions_for(self, topic: str) -> set[int]:
        self.looked_up.append(topic)
        return set(self.partitions)

    def send(
        self,
        topic: str,
        *,
        value: Any,
        key: bytes | None,
        headers: Headers,
        partition: int | None = None,
    ) -> FakeFuture:
        outcome = self.always or (self.outcomes.popleft() if self.outcomes else None)
        if isinstance(outcome, Exception):
            raise outcome
        # As strict as the real one, with the same errors.
        if type(value) is not bytes and (value is not None or key is None):
            raise TypeError(f"Unsupported type for serialized value: {type(value)}")
        if not all(isinstance(item, bytes) for _, item in headers):
            raise TypeError("All headers items must be (str, bytes) tuples")
        if not topic or set(topic) & set(" !/"):
            raise ValueError(f'Topic name "{topic}" is illegal')
        future = FakeFuture().succeed() if outcome is None else outcome
        self.sent.append(Sent(topic, value, key, headers, future, partition))
        return future

    def has_fatal_error(self) -> bool:
        return self.is_fatal

    def has_offered_nothing(self) -> bool:
        return not self.has_an_id

    def close(self, timeout: float) -> None:
        self.closed = True


class FakeAdmin:
    """A KafkaAdminClient for existing *topics* and topics that it may not describe."""

    def __init__(
        self, topics: Iterable[str], error: Exception | None = None, denied: Iterable[str] = ()
    ) -> None:
        self.codes = dict.fromkeys(topics, 0) | dict.fromkeys(denied, 29)
        self.error = error
        self.closed = False

    def describe_topics(self, topics: list[str]) -> list[dict[str, object]]:
        if self.error is not None:
            raise self.error
        return [{"name": name, "error_code": self.codes.get(name, 3)} for name in topics]

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class FakeRecord:
    """What a KafkaConsumer returns for one record."""

    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    offset: int = 0
    key: bytes | None = None
    topic: str = "replies"
    partition: int = 0
    timestamp: int = 0  # Unix time in milliseconds


Batch = dict[TopicPartition, list[FakeRecord]]


def batch_of(*records: FakeRecord) -> Batch:
    """Return *records* as poll() would, by partition."""
    batch: Batch = {}
    for record in records:
        batch.setdefault(TopicPartition(record.topic, record.partition), []).append(record)
    return batch


class FakeConsumer:
    """
    A PatchedConsumer whose records come from the test.

    Args:
        partitions: its assigned partitions, and those of its topics.
    """

    def __init__(self, *partitions: TopicPartition) -> None:
        self.partitions = list(partitions)
        self.assigned: set[TopicPartition] = set(partitions)
        self.paused_partitions: set[TopicPartition] = set()
        self.was_paused = False
        self.polls = 0
        self.committed: dict[TopicPartition, OffsetAndMetadata] = {}
        self.commits: list[dict[TopicPartition, int]] = []
        self.commit_error: Exception | None = None
        self.metadata_error: Exception | None = None
        self.positions: dict[TopicPartition, int] = {}
        self.ends: dict[TopicPartition, int] = {}
        self.highwaters: dict[TopicPartition, int] = {}
        self.offsets_by_time: dict[TopicPartition, Any] = {}
        self.asked_since_ms: dict[TopicPartition, int] = {}
        self.subscribed: list[str] = []
        self.closed = False
        self.topic_ids: dict[str, UUID] = {}
        self.member = True
        self.members = 1
        self.ends_error: Exception | None = None
        self._script: deque[tuple[Exception | Batch, bool]] = deque()
        self._listener: Any = None

    # For tests.

    def rejoin(self) -> None:
        """Lose all partitions and get them again within one poll()."""
        self._listener.on_partitions_revoked(self.assignment())
        self._listener.on_partitions_assigned(self.assignment())

    def feed(self, *records: FakeRecord, although_paused: bool = False) -> None:
        """Let the next poll() return *records*, in the order of the calls."""
        self._script.append((batch_of(*records), although_paused))

    def fail_poll(self, error: Exception, decoding: TopicPartition | None = None) -> None:
        """Let the next poll() raise *error*, of the next record of the partition *decoding*."""
        found = error if decoding is None else UndecodableRecord(decoding, error)
        self._script.append((found, True))

    def recreate(self, topic: str) -> None:
        """Give *topic* a new id."""
        self.topic_ids[topic] = uuid4()

    def committed_offset(self, partition: TopicPartition) -> int | None:
        found = self.committed.get(partition)
        return None if found is None else found.offset

    def is_drained(self) -> bool:
        return not self._script

    # Methods of the library.

    def poll(self, timeout_ms: int) -> Batch:
        self.polls += 1
        if not self._script:
            time.sleep(0.001)
            return {}
        found, although_paused = self._script[0]
        if self.paused_partitions and not although_paused:
            time.sleep(0.001)
            return {}
        self._script.popleft()
        if isinstance(found, Exception):
            raise found
        self.assigned |= set(found)
        return found

    def topic_id(self, topic: str) -> UUID | None:
        return self.topic_ids.get(topic)

    def topics(self) -> set[str]:
        if self.metadata_error is not None:
            raise self.metadata_error
        return {partition.topic for partition in self.partitions}

    def partitions_for_topic(self, topic: str) -> set[int]:
        if self.metadata_error is not None:
            raise self.metadata_error
        return {p.partition for p in self.partitions if p.topic == topic}

    def highwater(self, partition: TopicPartition) -> int | None:
        if partition not in self.assigned:
            raise kafka_errors.IllegalStateError("not assigned")
        return self.highwaters.get(partition)

    def subscribe(self, topics: Sequence[str], listener: Any = None) -> None:
        self.subscribed = list(topics)
        self._listener = listener

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self.assigned = set(partitions)

    def assignment(self) -> set[TopicPartition]:
        return set(self.assigned)

    def pause(self, *partitions: TopicPartition) -> None:
        self.was_paused = True
        self.paused_partitions |= set(partitions)

    def paused(self) -> set[TopicPartition]:
        return set(self.paused_partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.paused_partitions -= set(partitions)

    def position(self, partition: TopicPartition) -> int:
        return self.positions[partition]

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.positions[partition] = offset

    def is_member(self) -> bool:
        return self.member

    def group_members(self, timeout_ms: int) -> int:
        return self.members

    def known_position(self, partition: TopicPartition) -> int | None:
        return self.positions.get(partition)

    def subscription(self) -> set[str]:
        return set(self.subscribed)

    def end_offsets(
        self, partitions: Sequence[TopicPartition], timeout_ms: int | None = None
    ) -> dict[TopicPartition, int]:
        if self.ends_error is not None:
            raise self.ends_error
        return {partition: self.ends.get(partition, 0) for partition in partitions}

    def offsets_for_times(self, since_ms: dict[TopicPartition, int]) -> dict[TopicPartition, Any]:
        self.asked_since_ms = since_ms
        return {partition: self.offsets_by_time.get(partition) for partition in since_ms}

    def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata], timeout_ms: int) -> None:
        if self.commit_error is not None:
            raise self.commit_error
        self._commit(offsets)

    def commit_async(
        self,
        offsets: dict[TopicPartition, OffsetAndMetadata],
        callback: Callable[[object, object], None],
    ) -> None:
        if self.commit_error is None:
            self._commit(offsets)
        callback(offsets, self.commit_error)

    def close(self, autocommit: bool = True, timeout_ms: int | None = None) -> None:
        self.closed = True

    def _commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        assert not self.closed, "committed after close()"
        self.committed |= offsets
        self.commits.append({partition: found.offset for partition, found in offsets.items()})


class EndingConsumer(FakeConsumer):
    """A consumer that sets *stop* once all records have been polled."""

    def __init__(self, partition: TopicPartition, stop: threading.Event) -> None:
        super().__init__(partition)
        self._stop = stop

    def poll(self, timeout_ms: int) -> Batch:
        if self.is_drained():
            self._stop.set()
        return super().poll(timeout_ms)


class FakePublisher:
    """
    A Publisher with a broker, a responder and a replies process in one.

    Args:
        store: receives the replies.
        ids: reads the ids of the replies.
    """

    def __init__(self, store: ReplyStore, ids: CorrelationIds) -> None:
        self._store = store
        self._ids = ids
        self.published: list[Request] = []
        #: Returns the reply to a request, or None for no reply.
        self.responder: Callable[[Request], Reply | None] = lambda request: Reply.to(request)
        #: Raised by publish().
        self.refused_at_once: PublishRefused | None = None
        self.on_await_broker: Callable[[], object] = lambda: None
        #: Passed to on_refused after publish().
        self.refused_later: PublishRefused | None = None
        self.acknowledges = True
        self.failure: str | None = None
        #: Without acknowledgement or failure, the test settles them.
        self.publications: list[Publication] = []
        self.after_publish: Callable[[], object] = lambda: None

    def await_broker(self, timeout_s: float) -> None:
        self.on_await_broker()

    def publish(
        self, request: Request, timeout_s: float, on_refused: Callable[[PublishRefused], None]
    ) -> Publication:
        if self.refused_at_once is not None:
            raise self.refused_at_once
        self.published.append(request)
        publication = Publication()
        if self.acknowledges or self.failure is not None:
            publication.settle(acknowledged=self.acknowledges, failure=self.failure)
        self.publications.append(publication)
        if self.refused_later is not None:
            on_refused(self.refused_later)
        reply = self.responder(request)
        if reply is not None:
            self._store.put_many([(self._ids.read(reply.correlation_id), reply)])
        self.after_publish()
        return publication


class RecordingPart:
    """A part of a Lifecycle that records its starts and closes."""

    def __init__(self, name: str, events: list[str]) -> None:
        self._name = name
        self._diary = events

    def start(self) -> None:
        self._diary.append(f"start {self._name}")

    def close(self) -> None:
        self._diary.append(f"close {self._name}")
