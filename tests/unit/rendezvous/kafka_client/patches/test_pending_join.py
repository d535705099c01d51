"""A rejoin that outlasts one poll(), with scripted answers of the coordinator."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.future import Future

from rendezvous.kafka_client.patches.consumer import PatchedConsumer

P0, P1 = TopicPartition("replies", 0), TopicPartition("replies", 1)
POLL_MS = 20
MEMBER = "member-1"


class Coordinator:
    """Answers JoinGroup at once, and SyncGroup at once unless *holds_sync*."""

    def __init__(self, consumer: Any) -> None:
        self._net = consumer._net
        self._coordinator = consumer._coordinator
        self._cluster = consumer._cluster
        self.partitions = {0}
        self.holds_sync = False
        self._held: Any = None
        self._generation = 0
        self._coordinator.coordinator_unknown = lambda: False
        self._coordinator._manager.send = self._send
        self._cluster.partitions_for_topic = lambda topic: set(self.partitions)

    def change_partitions(self, *partitions: int) -> None:
        """Let the metadata show *partitions*."""
        self.partitions = set(partitions)
        self._coordinator._handle_metadata_update(self._cluster)

    @property
    def holds(self) -> bool:
        """Whether a SyncGroup waits for its answer."""
        return self._held is not None

    def answer_sync(self, error: type[Exception] | None = None) -> None:
        """Answer the held SyncGroup, or fail it with *error*."""
        held, self._held, self.holds_sync = self._held, None, False
        future, answer = held
        self._net.call_soon_threadsafe(
            lambda: future.success(answer) if error is None else future.failure(error())
        )

    def _send(self, request: Any, node_id: Any = None, **_: Any) -> Any:
        kind = type(request).__name__
        if kind.startswith("JoinGroup"):
            return Future().success(self._joined(request))
        if kind.startswith("SyncGroup"):
            future, answer = Future(), _assigned(request)
            if not self.holds_sync:
                return future.success(answer)
            self._held = future, answer
            return future
        return Future()  # never answered

    def _joined(self, request: Any) -> Any:
        self._generation += 1
        name, metadata = request.protocols[0]
        return SimpleNamespace(
            error_code=0,
            protocol_type=None,
            protocol_name=name,
            generation_id=self._generation,
            leader=MEMBER,
            member_id=MEMBER,
            members=[
                SimpleNamespace(
                    member_id=MEMBER, group_instance_id=None, metadata=metadata.encode()
                )
            ],
        )


def _assigned(request: Any) -> Any:
    assignment = dict(request.assignments)[MEMBER]
    return SimpleNamespace(
        error_code=0, protocol_type=None, protocol_name=None, assignment=assignment.encode()
    )


@pytest.fixture
def new_consumer() -> Iterator[Callable[[type], Any]]:
    built: list[Any] = []

    def build(client: type) -> Any:
        built.append(
            client(
                bootstrap_servers="127.0.0.1:1",  # refuses
                api_version=(4, 0),
                group_id="group",
                enable_auto_commit=False,
            )
        )
        built[-1].subscribe(["replies"])
        return built[-1]

    yield build
    for consumer in built:
        consumer._coordinator._heartbeat_closed = True
        consumer._coordinator.reset_generation()  # there is no broker to take leave of
        consumer.close(autocommit=False, timeout_ms=0)


def polled_until(consumer: Any, condition: Callable[[], bool]) -> bool:
    for _ in range(50):
        consumer.poll(timeout_ms=POLL_MS)
        if condition():
            return True
    return False


def held_in_a_rejoin(consumer):
    """Return the coordinator of *consumer*, which has P0 and waits for the rest."""
    coordinator = Coordinator(consumer)
    coordinator.change_partitions(0)
    assert polled_until(consumer, lambda: consumer.assignment() == {P0})

    coordinator.holds_sync = True
    coordinator.change_partitions(0, 1)
    assert polled_until(consumer, lambda: coordinator.holds)
    return coordinator


@pytest.mark.parametrize(
    ("client", "is_assigned"), [(KafkaConsumer, False), (PatchedConsumer, True)]
)
def test_a_rejoin_that_outlasts_a_poll_is_finished(new_consumer, client, is_assigned):
    consumer = new_consumer(client)
    coordinator = held_in_a_rejoin(consumer)
    consumer.poll(timeout_ms=POLL_MS)
    coordinator.answer_sync()

    # When the plain client finishes it too, the patch is not needed any more.
    assert polled_until(consumer, lambda: consumer.assignment() == {P0, P1}) == is_assigned


@pytest.mark.parametrize(
    "error", [kafka_errors.KafkaConnectionError, kafka_errors.RequestTimedOutError]
)
def test_a_rejoin_that_fails_between_two_polls_is_tried_again(new_consumer, error):
    consumer = new_consumer(PatchedConsumer)
    coordinator = held_in_a_rejoin(consumer)
    coordinator.answer_sync(error)

    assert polled_until(consumer, lambda: consumer.assignment() == {P0, P1})
