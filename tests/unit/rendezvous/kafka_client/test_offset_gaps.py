"""A gap is looked at again; one that stays is believed, once."""

from types import SimpleNamespace

import pytest

from rendezvous.kafka_client.offset_gaps import PATIENCE_S, OffsetGaps
from tests.fakes import FakeClock

P, Q = "a partition", "another"


@pytest.fixture
def clock():
    return FakeClock(0.0)


@pytest.fixture
def watch(clock):
    return OffsetGaps(clock)


def records(*offsets):
    return [SimpleNamespace(offset=offset) for offset in offsets]


def check(watch, partition, *offsets):
    good, again = watch.check({partition: records(*offsets)})
    return [r.offset for r in good.get(partition, [])], again.get(partition)


def test_records_without_gaps_are_all_taken(watch):
    assert check(watch, P, 5, 6, 7) == ([5, 6, 7], None)
    assert check(watch, P, 8) == ([8], None)


def test_reading_stops_before_a_gap_and_begins_there_again(watch):
    assert check(watch, P, 5, 6, 9, 10) == ([5, 6], 7)
    assert check(watch, P, 7, 8, 9, 10) == ([7, 8, 9, 10], None)
    assert watch.filled == 1


def test_a_gap_between_two_polls_is_one_too(watch):
    check(watch, P, 5)

    assert check(watch, P, 7) == ([], 6)


def test_a_gap_is_given_time_to_fill(watch, clock):
    check(watch, P, 5)
    check(watch, P, 7)
    clock.now_s += PATIENCE_S * 0.9

    assert check(watch, P, 7) == ([], 6)
    assert check(watch, P, 6, 7) == ([6, 7], None)


def test_a_gap_that_stays_is_believed_and_so_are_later_ones(watch, clock):
    check(watch, P, 5)
    check(watch, P, 7)
    clock.now_s += PATIENCE_S

    assert check(watch, P, 7) == ([7], None)
    assert check(watch, P, 9, 11) == ([9, 11], None)
    assert watch.filled == 0


def test_each_partition_has_gaps_of_its_own(watch, clock):
    check(watch, P, 5)
    check(watch, Q, 5)
    check(watch, P, 7)
    clock.now_s += PATIENCE_S
    check(watch, P, 7)

    assert check(watch, Q, 7) == ([], 6)


def test_the_time_to_fill_begins_with_each_gap(watch, clock):
    check(watch, P, 5, 7)
    check(watch, P, 6, 7)
    clock.now_s += PATIENCE_S

    assert check(watch, P, 9) == ([], 8)


def test_a_partition_that_left_and_came_back_begins_anew(watch):
    check(watch, P, 5)
    check(watch, Q, 5)
    watch.forget([P])

    assert check(watch, P, 90, 91) == ([90, 91], None)
    assert check(watch, Q, 90) == ([], 6)


def test_records_that_come_again_are_taken(watch):
    check(watch, P, 5, 6, 7)

    assert check(watch, P, 6, 7, 8) == ([6, 7, 8], None)


def test_what_was_left_on_purpose_is_no_gap(watch):
    check(watch, P, 5)
    watch.expect(P, 7)

    assert check(watch, P, 7) == ([7], None)
