"""The bytes of kept replies: counted per client and in all, and forgotten when they expire."""

import pytest

from rendezvous.contract import Reply
from rendezvous.correlation import epoch_ms, new_node
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.kept_replies import (
    BYTES_PER_KEY,
    COUNTERS,
    KeptBytes,
    KeptReplies,
    count_stored,
)
from tests.fakes import FakeClock, raising

TTL_S = 800
NOW_S = 1_700_000_000.0


@pytest.fixture
def clock():
    return FakeClock(NOW_S)


@pytest.fixture
def kept(redis, clock):
    return KeptReplies(redis, "deployment", clock)


def new_id(ids, keep_s=TTL_S):
    return ids.read(ids.issue(new_node(), epoch_ms() + 10_000, keep_s=keep_s))


def test_requests_are_counted_for_their_client_and_in_all(kept):
    kept.begin("a", "id-1", TTL_S)
    kept.begin("a", "id-2", TTL_S)

    assert kept.begin("b", "id-3", TTL_S) == KeptBytes(BYTES_PER_KEY, 3 * BYTES_PER_KEY)


def test_a_cancelled_request_is_not_counted(kept, redis):
    kept.begin("a", "id-1", TTL_S)
    kept.cancel("a", "id-1", TTL_S)

    assert kept.begin("a", "id-2", TTL_S) == KeptBytes(BYTES_PER_KEY, BYTES_PER_KEY)
    assert redis.exists("kept:id-1") == 0


def test_a_stored_reply_is_added_to_its_client_once(kept, store, ids, clock, monkeypatch):
    monkeypatch.setattr("rendezvous.redis_store.replies.time.time", clock)
    cid, reply = new_id(ids), bytes(5_000)
    kept.begin("a", cid.text, TTL_S)
    for _ in range(2):  # delivered again
        store.put_many([(cid, Reply(cid.text, reply))])
    found = kept.begin("a", "another", TTL_S).of_client - 2 * BYTES_PER_KEY

    assert 5_000 < found < 5_300


def test_replies_without_a_key_or_an_account_are_not_counted(kept, store, ids, redis):
    plain, unknown = new_id(ids, keep_s=0), new_id(ids)
    store.put_many([(cid, Reply(cid.text, b"x")) for cid in (plain, unknown)])

    assert redis.keys("kept:*") == []


def test_an_error_while_counting_does_not_keep_a_reply_from_being_stored(
    kept, store, ids, monkeypatch, caplog
):
    cid = new_id(ids)
    kept.begin("a", cid.text, TTL_S)
    monkeypatch.setattr(
        "rendezvous.redis_store.replies.count_stored", raising(StoreUnavailable("no"))
    )

    assert store.put_many([(cid, Reply(cid.text, b"x"))]) == ["stored"]
    assert "1 kept replies are not counted" in caplog.text


@pytest.mark.parametrize(("after_s", "is_counted"), [(TTL_S, True), (TTL_S * 10 / 8, False)])
def test_bytes_are_free_again_after_their_replies_expire(kept, redis, clock, after_s, is_counted):
    kept.begin("a", "id-1", TTL_S)
    clock.now_s += after_s

    assert (kept.begin("a", "id-2", TTL_S).of_client > BYTES_PER_KEY) == is_counted


def test_every_key_expires(kept, redis, ids):
    cid = new_id(ids)
    kept.begin("a", cid.text, TTL_S)
    count_stored(redis, [(cid, redis.get(f"kept:{cid.text}"), 7)], NOW_S)

    remaining_s = [redis.ttl(key) for key in redis.keys("kept:*")]
    assert len(remaining_s) == 3  # the account, its counter, the counter of all
    assert all(TTL_S < left_s <= TTL_S + 2 * TTL_S // COUNTERS + 60 for left_s in remaining_s)
