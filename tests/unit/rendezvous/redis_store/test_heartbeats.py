"""Heartbeats of the replies processes: what they write to Redis, and what gateways conclude."""

import itertools
import json

import pytest

from rendezvous.correlation import CorrelationIds, epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.heartbeats import HEARTBEAT_TTL_S, ReplyPathHeartbeats
from tests.fakes import record_calls
from tests.unit import apps


@pytest.fixture
def heartbeats(redis):
    return ReplyPathHeartbeats(redis, "replies", ("aa",))


@pytest.fixture
def reader(redis):
    return ReplyPathHeartbeats(redis, "replies", ("aa",))


@pytest.fixture
def clock(monkeypatch):
    """The clock of this process in ms, in a list for the test to set."""
    now_ms = [epoch_ms()]
    monkeypatch.setattr("rendezvous.redis_store.heartbeats.epoch_ms", lambda: now_ms[0])
    return now_ms


def test_without_heartbeats_there_is_no_state(heartbeats):
    assert heartbeats.state() is None


def test_a_topic_read_completely_and_in_time_has_no_fault(heartbeats, reader):
    reader.write(2, {0: 0.0, 1: 0.0})
    state = heartbeats.state()

    assert (state.unread, state.lag_s) == ((), 0.0)
    assert abs(state.clock_ahead_s) < 1


def test_the_heartbeats_of_several_readers_make_one_state(heartbeats, reader, redis):
    reader.write(3, {0: 0.5, 2: 0.0})
    ReplyPathHeartbeats(redis, "replies", ("aa",)).write(3, {1: 4.25})

    assert (heartbeats.state().unread, heartbeats.state().lag_s) == ((), 4.25)


def test_partitions_without_a_reader_are_unread(heartbeats, reader):
    reader.write(4, {0: 0.0, 2: 0.0})

    assert heartbeats.state().unread == (1, 3)


def test_a_partition_whose_heartbeat_has_expired_is_unread(heartbeats, reader, redis):
    reader.write(2, {0: 0.0, 1: 0.0})
    assert 0 < redis.pttl("served:{replies}:1") <= HEARTBEAT_TTL_S * 1000
    redis.delete("served:{replies}:1", "served:{replies}:1:aa")  # as Redis does when it expires

    assert heartbeats.state().unread == (1,)


@pytest.mark.parametrize(
    ("readers", "foreign"),
    [
        ([("aa",)], ()),
        ([("bb",)], (0,)),
        ([("bb", "aa")], ()),  # a replies process that knows the next key, or the last one
        ([("bb", "cc")], (0,)),
        # Both read the partition, in broadcast mode: one of them stores the replies.
        ([("aa",), ("bb",)], ()),
        ([("bb",), ("aa",)], ()),
    ],
)
def test_a_partition_is_foreign_if_no_reader_accepts_our_key(heartbeats, redis, readers, foreign):
    for fingerprints in readers:
        ReplyPathHeartbeats(redis, "replies", fingerprints).write(2, {0: 0.5})
    ReplyPathHeartbeats(redis, "replies", ("aa",)).write(2, {1: 0.0})

    state = heartbeats.state()
    assert (state.unread, state.foreign, state.lag_s) == ((), foreign, 0.5)


def test_a_heartbeat_of_an_older_release_has_no_key_and_is_accepted(heartbeats, redis):
    redis.set("served:{replies}", json.dumps({"partitions": 1, "clock_ms": epoch_ms()}), ex=10)
    redis.set("served:{replies}:0", '{"lag_s": 0.25}', ex=10)

    state = heartbeats.state()
    assert (state.unread, state.foreign, state.lag_s) == ((), (), 0.25)


def test_no_heartbeat_discloses_the_key(redis):
    ids = CorrelationIds(apps.SECRET_KEY)
    ReplyPathHeartbeats(redis, "replies", ids.fingerprints).write(1, {0: 0.0})

    keys = redis.keys()
    written = b" ".join(keys + redis.mget(keys))
    assert ids.deployment.encode() in written
    assert apps.SECRET_KEY.encode() not in written


def test_an_added_partition_is_noticed(heartbeats, reader):
    reader.write(1, {0: 0.0})
    assert heartbeats.state().unread == ()
    reader.write(2, {0: 0.0})

    assert heartbeats.state().unread == (1,)


def test_a_number_of_partitions_that_keeps_changing_is_read_twice_at_most(
    heartbeats, reader, redis, monkeypatch
):
    """Two replies processes with different metadata write alternately."""
    numbers = itertools.cycle([1, 2])
    trips = []

    def write_before_each_read(pipeline):
        trips.append(1)
        redis.set("served:{replies}", json.dumps({"partitions": next(numbers)}))
        return pipeline.execute()

    reader.write(2, {0: 0.0, 1: 0.0})
    monkeypatch.setattr("rendezvous.redis_store.heartbeats.execute", write_before_each_read)

    assert heartbeats.state().unread == ()
    assert len(trips) == 2


@pytest.mark.parametrize("ahead_s", [3_600, -3_600])
def test_the_difference_of_the_clocks_is_computed(heartbeats, reader, clock, ahead_s):
    clock[0] += ahead_s * 1000
    reader.write(1, {0: 0.0})
    clock[0] -= ahead_s * 1000

    assert heartbeats.state().clock_ahead_s == pytest.approx(ahead_s, abs=1)


def test_the_age_of_a_heartbeat_is_not_taken_for_a_slow_clock(heartbeats, reader, redis, clock):
    reader.write(1, {0: 0.0})
    redis.pexpire("served:{replies}", HEARTBEAT_TTL_S * 1000 - 8_000)  # 8 s have passed
    clock[0] += 8_000

    assert heartbeats.state().clock_ahead_s == pytest.approx(0, abs=1)


@pytest.mark.parametrize("value", [b"", b"none", b"[1]", b'"x"', b"{}"])
def test_a_value_of_another_format_is_no_heartbeat(heartbeats, redis, value):
    redis.set("served:{replies}", value)

    assert heartbeats.state() is None


def test_topics_have_separate_heartbeats(heartbeats, redis):
    ReplyPathHeartbeats(redis, "others", ("aa",)).write(1, {0: 0.0})

    assert heartbeats.state() is None


def test_an_unreachable_redis_raises_store_unavailable(heartbeats, redis_server):
    redis_server.connected = False

    with pytest.raises(StoreUnavailable):
        heartbeats.state()
    with pytest.raises(StoreUnavailable):
        heartbeats.write(1, {0: 0.0})


def test_reading_the_state_takes_one_round_trip(heartbeats, reader, redis, monkeypatch):
    reader.write(2, {0: 0.0, 1: 0.0})
    heartbeats.state()  # learns how many partitions there are
    trips = record_calls(monkeypatch, redis, "pipeline")
    heartbeats.state()

    assert len(trips) == 1
