"""The fair share of connections of each worker."""

import pytest

from gateway.server.connection_counts import ConnectionCounts, FairShare


@pytest.fixture
def clock(monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr("gateway.server.connection_counts.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def shares(clock):
    counts = ConnectionCounts(4)
    return [FairShare(counts, age) for age in (1, 2, 3)]


def test_a_worker_alone_may_accept_any_number(shares):
    shares[0].update(50)

    assert shares[0].room(50) is None


def test_a_worker_accepts_up_to_one_above_the_least(shares):
    for share, count in zip(shares, (3, 7, 5), strict=True):
        share.update(count)

    assert shares[0].room(3) == 3  # the least of the others has 5
    assert shares[1].room(7) < 0
    assert [shares[1].room(count) for count in (3, 4)] == [1, 0]


def test_with_many_connections_a_small_share_above_the_least_is_fair(shares):
    shares[0].update(64)

    assert shares[1].room(64) == 5


def test_a_worker_that_leaves_or_writes_nothing_for_a_second_is_ignored(shares, clock):
    for share, count in zip(shares, (0, 9, 9), strict=True):
        share.update(count)
    assert shares[1].room(9) < 0

    shares[0].leave()
    assert shares[1].room(9) == 1

    shares[0].update(0)
    clock[0] += 1.1
    shares[2].update(9)
    assert shares[1].room(9) == 1


def test_a_count_is_shared_with_the_workers_that_are_forked_later():
    counts = ConnectionCounts(1)
    assert FairShare(counts, 1)._counts is FairShare(counts, 1 + counts.size)._counts
    FairShare(counts, 1).update(3)

    # A later worker gets the place of one that has gone long ago.
    assert FairShare(counts, 1 + counts.size).room(0) is None
