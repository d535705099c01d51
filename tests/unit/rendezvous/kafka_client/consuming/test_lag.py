"""The lag of a consumer, and which records it read on arrival."""

import pytest
from kafka import TopicPartition

from rendezvous.kafka_client.consuming.lag import Lag
from tests.fakes import FakeRecord, batch_of

P0, P1 = TopicPartition("replies", 0), TopicPartition("replies", 1)
NOW_S = 1_700_000_000.0


@pytest.fixture
def lag():
    return Lag(lambda: NOW_S)


def read(lag, offset, end, age_s=0.0, partition=0):
    """Read the record at *offset*, *age_s* old, and the one before; the partition ends at *end*."""
    timestamp_ms = round((NOW_S - age_s) * 1000)
    records = [
        FakeRecord(b"", [], offset - 1, partition=partition, timestamp=0),
        FakeRecord(b"", [], offset, partition=partition, timestamp=timestamp_ms),
    ]
    lag.note(batch_of(*records), {P0, P1}, lambda _: end, lambda _: offset + 1)


@pytest.mark.parametrize(
    ("offset", "end", "age_s", "lag_s"),
    [
        pytest.param(9, 10, 100, 0.0, id="at the end, however old the last record"),
        pytest.param(8, 10, 7.5, 7.5, id="before the end: the age of the last record"),
        pytest.param(8, None, 7.5, 0.0, id="where the end is unknown"),
        pytest.param(8, 10, -60, 0.0, id="when the sender's clock is ahead"),
    ],
)
def test_the_lag_is_the_age_of_the_last_record_before_the_end(lag, offset, end, age_s, lag_s):
    read(lag, offset, end, age_s)

    assert lag.lag_s(P0) == lag_s


def test_reading_up_to_the_end_ends_the_lag(lag):
    read(lag, offset=8, end=10, age_s=7.5)
    read(lag, offset=9, end=10)

    assert lag.lag_s(P0) == 0.0


def test_the_end_of_a_transaction_that_is_read_later_ends_the_lag(lag):
    read(lag, offset=8, end=10, age_s=7.5)
    lag.note({}, {P0, P1}, lambda _: 10, lambda _: 10)

    assert lag.lag_s(P0) == 0.0


def test_each_partition_has_its_own_lag(lag):
    read(lag, offset=8, end=10, age_s=7.5, partition=1)

    assert (lag.lag_s(P0), lag.lag_s(P1)) == (0.0, 7.5)


def test_records_behind_the_end_were_read_on_arrival(lag):
    read(lag, offset=9, end=10)
    first = lag.read_on_arrival
    read(lag, offset=11, end=12)

    assert (first, lag.read_on_arrival) == (set(), {P0})


@pytest.mark.parametrize(("offset", "end"), [(7, 10), (9, None)])
def test_records_before_the_end_or_an_unknown_end_may_have_waited(lag, offset, end):
    read(lag, offset, end)
    read(lag, offset + 2, 12)

    assert lag.read_on_arrival == set()


def test_after_a_pause_all_records_may_have_waited(lag):
    read(lag, offset=9, end=10)
    lag.note_pause()
    read(lag, offset=11, end=12)

    assert lag.read_on_arrival == set()


@pytest.mark.parametrize(
    ("assigned", "read_on_arrival"), [({P1}, set()), ({P0, P1}, {P0})], ids=["lost", "kept"]
)
def test_a_partition_that_was_lost_meanwhile_may_have_waited(lag, assigned, read_on_arrival):
    read(lag, offset=9, end=10)
    lag.note({}, assigned, lambda _: None, lambda _: None)
    read(lag, offset=11, end=12)

    assert lag.read_on_arrival == read_on_arrival
