"""What readers of the reply topic leave word of is what gateways find."""

import pytest
from fakeredis import FakeRedis

from rendezvous.correlation import epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.heartbeats import HOLDS_S, ReplyPathHeartbeats


@pytest.fixture
def path(store):
    return ReplyPathHeartbeats(store, "replies")


@pytest.fixture
def reader(store):
    return ReplyPathHeartbeats(store, "replies")


@pytest.fixture
def clock(monkeypatch):
    """The one of this process, in ms; in a list, for the test to set."""
    now_ms = [epoch_ms()]
    monkeypatch.setattr("rendezvous.redis_store.heartbeats.epoch_ms", lambda: now_ms[0])
    return now_ms


def test_without_a_word_there_is_no_state(path):
    assert path.state() is None


def test_a_topic_that_is_read_whole_and_in_time_is_in_order(path, reader):
    reader.tell(2, {0: 0.0, 1: 0.0})
    state = path.state()

    assert (state.unread, state.lag_s) == ((), 0.0)
    assert abs(state.clock_ahead_s) < 1


def test_several_readers_make_one_state(path, reader, store):
    reader.tell(3, {0: 0.5, 2: 0.0})
    ReplyPathHeartbeats(store, "replies").tell(3, {1: 4.25})

    assert (path.state().unread, path.state().lag_s) == ((), 4.25)


def test_partitions_without_a_reader_are_named(path, reader):
    reader.tell(4, {0: 0.0, 2: 0.0})

    assert path.state().unread == (1, 3)


def test_a_reader_that_falls_silent_leaves_its_partitions_unread(path, reader, redis):
    reader.tell(2, {0: 0.0, 1: 0.0})
    assert 0 < redis.pttl("served:{replies}:1") <= HOLDS_S * 1000
    redis.delete("served:{replies}:1")  # as Redis does when its time is over

    assert path.state().unread == (1,)


def test_added_partitions_are_noticed(path, reader):
    reader.tell(1, {0: 0.0})
    assert path.state().unread == ()
    reader.tell(2, {0: 0.0})

    assert path.state().unread == (1,)


@pytest.mark.parametrize("ahead_s", [3_600, -3_600])
def test_the_difference_of_the_clocks_is_known(path, reader, clock, ahead_s):
    clock[0] += ahead_s * 1000
    reader.tell(1, {0: 0.0})
    clock[0] -= ahead_s * 1000

    assert path.state().clock_ahead_s == pytest.approx(ahead_s, abs=1)


def test_the_age_of_a_word_is_not_taken_for_a_slow_clock(path, reader, redis, clock):
    reader.tell(1, {0: 0.0})
    redis.pexpire("served:{replies}", HOLDS_S * 1000 - 8_000)  # eight seconds have passed
    clock[0] += 8_000

    assert path.state().clock_ahead_s == pytest.approx(0, abs=1)


@pytest.mark.parametrize("word", [b"", b"none", b"[1]", b'"x"', b"{}"])
def test_words_of_strangers_are_no_state(path, redis, word):
    redis.set("served:{replies}", word)

    assert path.state() is None


def test_topics_are_told_apart(path, store):
    ReplyPathHeartbeats(store, "others").tell(1, {0: 0.0})

    assert path.state() is None


def test_trouble_with_redis_is_raised(path, redis_server):
    redis_server.connected = False

    with pytest.raises(StoreUnavailable):
        path.state()
    with pytest.raises(StoreUnavailable):
        path.tell(1, {0: 0.0})


def test_a_state_costs_one_round_trip(path, reader, redis, monkeypatch):
    reader.tell(2, {0: 0.0, 1: 0.0})
    path.state()  # learns how many partitions there are
    trips: list[int] = []
    pipeline = FakeRedis.pipeline

    def counted(self, **options):
        trips.append(1)
        return pipeline(self, **options)

    monkeypatch.setattr(FakeRedis, "pipeline", counted)
    path.state()

    assert len(trips) == 1
