"""How late a reader is."""

import pytest
from kafka import TopicPartition

from rendezvous.kafka_client.lag import Lag
from tests.fakes import FakeRecord, batch_of

P0, P1 = TopicPartition("replies", 0), TopicPartition("replies", 1)
NOW_S = 1_700_000_000.0


@pytest.fixture
def lag():
    return Lag(lambda: NOW_S)


def read(lag, offset, age_s, end, partition=0):
    """Let the record at *offset* be read, *age_s* old, of a partition that ends at *end*."""
    timestamp_ms = round((NOW_S - age_s) * 1000)
    records = [
        FakeRecord(b"", [], offset - 1, partition=partition, timestamp=0),
        FakeRecord(b"", [], offset, partition=partition, timestamp=timestamp_ms),
    ]
    lag.note(batch_of(*records), {P0, P1}, lambda _: end)


def test_a_partition_of_which_nothing_was_read_is_not_late(lag):
    assert lag.lag_s(P0) == 0.0


def test_who_has_read_all_is_not_late_however_old_it_was(lag):
    read(lag, offset=9, age_s=100, end=10)

    assert lag.lag_s(P0) == 0.0


def test_who_has_not_is_as_late_as_what_was_read_last_is_old(lag):
    read(lag, offset=8, age_s=7.5, end=10)

    assert lag.lag_s(P0) == 7.5


def test_catching_up_ends_the_lag(lag):
    read(lag, offset=8, age_s=7.5, end=10)
    read(lag, offset=9, age_s=0, end=10)

    assert lag.lag_s(P0) == 0.0


def test_each_partition_has_its_own(lag):
    read(lag, offset=8, age_s=7.5, end=10, partition=1)

    assert lag.lag_s(P0) == 0.0
    assert lag.lag_s(P1) == 7.5


def test_where_the_end_is_not_known_nothing_is_claimed(lag):
    read(lag, offset=8, age_s=7.5, end=None)

    assert lag.lag_s(P0) == 0.0


def test_a_sender_whose_clock_is_ahead_makes_no_negative_lag(lag):
    read(lag, offset=8, age_s=-60, end=10)

    assert lag.lag_s(P0) == 0.0


def test_what_follows_the_end_has_just_been_appended(lag):
    read(lag, offset=9, age_s=0, end=10)
    first = lag.fresh
    read(lag, offset=11, age_s=0, end=12)

    assert first == set()
    assert lag.fresh == {P0}


def test_what_was_there_already_may_have_waited(lag):
    read(lag, offset=7, age_s=0, end=10)
    read(lag, offset=9, age_s=0, end=10)

    assert lag.fresh == set()


def test_after_looking_away_everything_may_have_waited(lag):
    read(lag, offset=9, age_s=0, end=10)
    lag.look_away()
    read(lag, offset=11, age_s=0, end=12)

    assert lag.fresh == set()


def test_a_partition_that_left_and_came_back_may_have_waited(lag):
    read(lag, offset=9, age_s=0, end=10)
    lag.note({}, {P1}, lambda _: None)
    read(lag, offset=11, age_s=0, end=12)

    assert lag.fresh == set()


def test_an_empty_poll_at_the_end_keeps_what_is_known(lag):
    read(lag, offset=9, age_s=0, end=10)
    lag.note({}, {P0, P1}, lambda _: None)
    read(lag, offset=11, age_s=0, end=12)

    assert lag.fresh == {P0}


def test_where_the_end_is_not_known_nothing_is_fresh(lag):
    read(lag, offset=9, age_s=0, end=None)
    read(lag, offset=11, age_s=0, end=12)

    assert lag.fresh == set()
