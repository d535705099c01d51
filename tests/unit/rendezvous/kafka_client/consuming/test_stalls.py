"""A consumer that reads nothing although it should."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors

from rendezvous.kafka_client.consuming.consumer import ResilientConsumer
from rendezvous.kafka_client.consuming.stalls import (
    MAX_REOPEN_S,
    QUIET_S,
    REOPEN_S,
    STALL_S,
    SUSPENDED_S,
    Stalls,
)
from replies.broadcast import BroadcastConsumer
from tests.fakes import FakeConsumer

P0, P1 = TopicPartition("replies", 0), TopicPartition("replies", 1)
#: A stall is logged within this time, questions included.
NOTICED_S = STALL_S + 12


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def kafka():
    found = FakeConsumer(P0, P1)
    found.subscribed = ["replies"]
    found.positions = {P0: 5, P1: 7}
    found.ends = {P0: 5, P1: 7}
    return found


@pytest.fixture
def stalls(clock):
    return Stalls(clock)


@pytest.fixture
def pass_time(clock, stalls, kafka) -> Callable[[float], list[int]]:
    """Check once a second; return after how many seconds the consumer should be opened again."""

    def run(duration_s: float) -> list[int]:
        asked = []
        for second in range(1, round(duration_s) + 1):
            clock.now_s += 1
            if stalls.check(kafka):
                asked.append(second)
        return asked

    return run


def test_an_idle_consumer_is_not_stalled(pass_time, stalls, caplog):
    caplog.set_level("INFO")

    assert pass_time(MAX_REOPEN_S) == []
    assert stalls.partitions == set()
    assert caplog.messages == []


def test_a_consumer_that_reads_slowly_is_not_stalled(pass_time, kafka, caplog):
    kafka.ends = {P0: 1_000, P1: 1_000}
    for _ in range(60):
        assert pass_time(STALL_S) == []
        kafka.positions[P0] += 1
        kafka.positions[P1] += 1

    assert caplog.messages == []


def test_a_partition_that_is_not_read_is_named_while_the_other_is_read(
    pass_time, kafka, stalls, caplog
):
    kafka.ends = {P0: 8, P1: 1_000}
    asked: list[int] = []
    for second in range(60):
        kafka.positions[P1] += 1
        asked += [second] * bool(pass_time(1))

    assert stalls.partitions == {P0}
    assert "nothing read of replies/0; 3 records wait there" in caplog.text
    assert len([line for line in caplog.messages if "nothing read" in line]) == 1
    assert REOPEN_S <= asked[0] <= REOPEN_S + NOTICED_S


def test_a_paused_partition_is_not_stalled(pass_time, kafka, caplog):
    kafka.ends = {P0: 8, P1: 9}
    kafka.pause(P0, P1)

    assert pass_time(100) == []
    assert caplog.messages == []


def test_a_partition_without_a_position_is_stalled_when_it_has_records(pass_time, kafka, stalls):
    kafka.positions = {P0: 5}
    kafka.ends = {P0: 5, P1: 9}
    pass_time(NOTICED_S)

    assert stalls.partitions == {P1}


def test_a_lost_membership_is_logged_and_asks_for_a_new_consumer(pass_time, kafka, caplog):
    kafka.member = False

    assert pass_time(STALL_S) == []
    assert caplog.messages == []
    assert pass_time(REOPEN_S)[0] == REOPEN_S + 1 - STALL_S
    assert "for 10 s no member of its group" in caplog.text


def test_a_rebalance_is_not_a_stall(pass_time, kafka, caplog):
    for _ in range(20):
        kafka.member = False
        assert pass_time(8) == []
        kafka.member = True
        assert pass_time(2) == []

    assert caplog.messages == []


def test_a_spare_member_says_so_once_and_is_left_alone(pass_time, kafka, caplog):
    caplog.set_level("INFO")
    kafka.assigned, kafka.members = set(), 3

    assert pass_time(MAX_REOPEN_S) == []
    assert caplog.messages == ["has no partition; 3 members for 2 partitions"]


def test_without_partitions_although_there_are_enough_it_asks_for_a_new_consumer(
    pass_time, kafka, caplog
):
    kafka.assigned, kafka.members = set(), 2

    assert REOPEN_S <= pass_time(REOPEN_S + 10)[0] <= REOPEN_S + 2
    assert "no partition; 2 members for 2 partitions" in caplog.text


def test_a_spare_member_gets_a_partition_and_loses_it(pass_time, kafka, caplog):
    caplog.set_level("INFO")
    for _ in range(2):
        kafka.assigned, kafka.members = set(), 3
        pass_time(60)
        kafka.assigned, kafka.members = {P0}, 2
        pass_time(60)

    assert caplog.messages == ["has no partition; 3 members for 2 partitions"] * 2


def test_a_group_that_cannot_be_asked_about_is_left_alone(pass_time, kafka, monkeypatch):
    def refuse(timeout_ms: int) -> int:
        raise kafka_errors.GroupAuthorizationFailedError

    kafka.assigned = set()
    monkeypatch.setattr(kafka, "group_members", refuse)

    assert pass_time(MAX_REOPEN_S) == []


def test_brokers_that_do_not_answer_are_logged(pass_time, kafka, stalls, caplog):
    kafka.ends_error = kafka_errors.KafkaTimeoutError("asleep")

    assert pass_time(REOPEN_S + NOTICED_S)
    assert "no answer to where replies/0, replies/1 end" in caplog.text
    assert stalls.partitions == set()


def test_an_opening_that_does_not_help_doubles_the_time_to_the_next(clock, stalls, kafka):
    kafka.member = False
    opened: list[float] = []
    while len(opened) < 7:
        clock.now_s += 1
        if stalls.check(kafka):
            opened.append(clock.now_s)
            stalls.note_reopening()
    pauses = [round(b - a) for a, b in pairwise(opened)]

    assert pauses == [61, 121, 241, 481, 601, 601]


def test_the_end_of_a_stall_is_logged(pass_time, kafka, stalls, caplog):
    caplog.set_level("INFO")
    kafka.ends[P0] = 8
    pass_time(NOTICED_S)
    kafka.positions[P0] = 8
    pass_time(1)

    assert stalls.partitions == set()
    pass_time(QUIET_S)
    assert "nothing has kept the consumer from reading" in caplog.messages[-1]


def test_a_suspended_process_is_given_time(clock, stalls, kafka, pass_time):
    kafka.member = False
    pass_time(5)
    clock.now_s += REOPEN_S + SUSPENDED_S

    assert not stalls.check(kafka)


def test_a_suspended_process_that_has_nothing_to_read_goes_on(clock, stalls, kafka, pass_time):
    pass_time(5)
    clock.now_s += SUSPENDED_S

    assert pass_time(5) == []
    assert stalls.partitions == set()


@pytest.fixture
def impatient(monkeypatch):
    """Shorten all times."""
    for name in ("CHECK_INTERVAL_S", "ASK_INTERVAL_S", "STALL_S", "REOPEN_S"):
        monkeypatch.setattr(f"rendezvous.kafka_client.consuming.stalls.{name}", 0.0)


def replaced(kafka: FakeConsumer) -> FakeConsumer:
    found = FakeConsumer(*kafka.partitions)
    found.ends = dict(kafka.ends)
    return found


@pytest.mark.usefixtures("impatient")
def test_a_consumer_that_lost_its_membership_is_opened_again(kafka, caplog):
    second = replaced(kafka)
    opened = iter([kafka, second])
    consumer = ResilientConsumer.open(["replies"], lambda: next(opened))
    kafka.member = False
    consumer.poll()
    consumer.commit_async({P0: 5})

    assert kafka.closed
    assert kafka.commits == []
    assert second.subscribed == ["replies"]
    assert "the consumer was opened again" in caplog.text


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("why", ["no broker", "no topic", "a problem"])
def test_a_consumer_that_cannot_be_opened_again_is_kept(kafka, why, caplog):
    second = FakeConsumer()  # without the topic
    if why == "no broker":
        second.metadata_error = kafka_errors.KafkaTimeoutError("asleep")
    opened = iter([kafka, second])
    problem = iter([why if why == "a problem" else None])
    consumer = ResilientConsumer.open(["replies"], lambda: next(opened), lambda: next(problem))
    kafka.member = False
    consumer.poll()
    kafka.member = True

    assert not kafka.closed
    assert set(consumer.lags_s()) == {P0, P1}
    assert "cannot be opened again" in caplog.text


@pytest.mark.usefixtures("impatient")
def test_a_broadcast_consumer_is_opened_again_where_it_was(kafka):
    second = replaced(kafka)
    opened = iter([kafka, second])
    consumer = BroadcastConsumer.open_all("replies", lambda: next(opened), 60.0)
    kafka.positions = {P0: 5, P1: 7}
    kafka.ends = {P0: 5, P1: 9}
    consumer.poll()

    assert kafka.closed
    assert second.positions == {P0: 5, P1: 7}
    assert second.assigned == {P0, P1}


def test_partitions_of_which_nothing_is_read_have_no_lag(kafka):
    consumer = ResilientConsumer(kafka)
    consumer._stalls.partitions = frozenset({P0})
    stalled = set(consumer.lags_s())
    kafka.member = False

    assert stalled == {P1}
    assert consumer.lags_s() == {}
