"""The store: key, encoding and time to live of a reply, and what Redis trouble is called."""

import contextlib
import json
import socket
import ssl
import threading
import time

import pytest
from redis import exceptions as redis_errors

from rendezvous.contract import Outcome, Reply
from rendezvous.correlation import epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.pipeline import RedisPipeline
from rendezvous.redis_store.replies import (
    MIN_TTL_MS,
    UNWANTED_HOLD_S,
    UNWANTED_KEY,
    Put,
    ReplyStore,
    reply_key,
)


def test_a_reply_is_fetched_as_it_was_put(store, new_id):
    cid = new_id()
    reply = Reply(
        cid.text, b"\x00\n\xff\n", 418, (("content-type", "a/b"), ("x-a", "1"), ("x-a", "2"))
    )

    assert store.put_many([(cid, reply)]) == [Put.STORED]
    assert store.fetch_many([cid.text]) == {cid.text: reply}


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_outcome_and_its_detail_are_kept(store, new_id, outcome):
    cid = new_id()
    reply = Reply(cid.text, outcome=outcome, status=502, detail="ä\n\x00")
    store.put_many([(cid, reply)])

    assert store.fetch_many([cid.text]) == {cid.text: reply}


def test_the_first_reply_wins(store, new_id):
    cid = new_id()
    first, second = Reply(cid.text, b"first"), Reply(cid.text, b"second")

    assert store.put_many([(cid, first), (cid, second)]) == [Put.STORED, Put.DUPLICATE]
    assert store.put_many([(cid, second)]) == [Put.DUPLICATE]
    assert store.fetch_many([cid.text])[cid.text].body == b"first"


def test_fetching_a_reply_leaves_it_there(store, new_id):
    cid = new_id()
    store.put_many([(cid, Reply(cid.text))])

    assert store.fetch_many([cid.text]) == store.fetch_many([cid.text]) != {}


def test_what_has_not_come_is_not_among_the_fetched(store, new_id):
    here, missing = new_id(), new_id()
    store.put_many([(here, Reply(here.text))])

    assert list(store.fetch_many([missing.text, here.text])) == [here.text]
    assert store.fetch_many([]) == {}


def test_a_reply_lives_until_the_deadline_plus_the_retention(store, redis, new_id):
    cid = new_id(due_in_ms=30_000)
    store.put_many([(cid, Reply(cid.text))])

    assert 60_000 < redis.pttl(reply_key(cid.text)) <= 90_000


def test_without_retention_a_reply_is_gone_at_the_deadline(redis, new_id):
    cid = new_id(due_in_ms=30_000)
    ReplyStore(redis, retention_s=0).put_many([(cid, Reply(cid.text))])

    assert 0 < redis.pttl(reply_key(cid.text)) <= 30_000


def test_a_reply_at_the_last_moment_lives_long_enough_for_the_last_look(redis, new_id):
    cid = new_id(due_in_ms=300)
    store = ReplyStore(redis, retention_s=0)

    assert store.put_many([(cid, Reply(cid.text))]) == [Put.STORED]
    assert 300 < redis.pttl(reply_key(cid.text)) <= MIN_TTL_MS


def test_a_late_reply_is_stored_while_it_can_be_asked_for(store, new_id):
    cid = new_id(due_in_ms=-30_000)

    assert store.put_many([(cid, Reply(cid.text))]) == [Put.STORED]
    assert store.fetch_many([cid.text])


def test_a_reply_after_deadline_and_retention_is_not_stored(store, redis, new_id):
    over, live = new_id(due_in_ms=-61_000), new_id()

    outcomes = store.put_many([(over, Reply(over.text)), (live, Reply(live.text))])

    assert outcomes == [Put.EXPIRED, Put.STORED]
    assert redis.keys() == [reply_key(live.text).encode()]


def test_an_id_is_over_when_deadline_and_retention_are(store, new_id):
    assert not store.is_over(new_id(due_in_ms=-30_000))
    assert store.is_over(new_id(due_in_ms=-61_000))


def test_the_keys_of_one_node_share_a_cluster_slot(ids):
    assert reply_key("0a1b2c3d.1.x.y") == "reply:{0a1b2c3d}:0a1b2c3d.1.x.y"


@pytest.mark.parametrize(
    "value",
    [
        b"", b"\n", b"not json\n", b"{}\n", b"[]\n", b"null\n", b"[1,2]\nbody", b"\xff\n",
        b'["ID", "many", "answered", "", []]\n',
        b'["ID", 200, "invented", "", []]\n',
        b'["ID", 200, "answered", "", [["x"]]]\n',
        b'["ID", 200, "answered", "", 7]\n',
    ],
)  # fmt: skip
def test_a_stored_value_that_is_no_reply_fails_only_its_own_request(store, redis, new_id, value):
    broken, sound = new_id(), new_id()
    redis.set(reply_key(broken.text), value.replace(b"ID", broken.text.encode()))
    store.put_many([(sound, Reply(sound.text, b"fine"))])

    found = store.fetch_many([broken.text, sound.text])

    assert found[broken.text].outcome is Outcome.UNUSABLE
    assert found[broken.text].correlation_id == broken.text
    assert found[sound.text].body == b"fine"


@pytest.mark.parametrize(
    "value",
    [b'["ID", Infinity, "answered", "", []]\n', b"[" * 200_000],
    ids=["OverflowError", "RecursionError"],
)
def test_a_stored_value_of_any_kind_comes_back_as_unusable(store, redis, new_id, value):
    cid = new_id()
    redis.set(reply_key(cid.text), value.replace(b"ID", cid.text.encode()))

    assert store.fetch_many([cid.text])[cid.text].outcome is Outcome.UNUSABLE


def test_a_reply_under_the_key_of_another_request_is_not_given_to_it(store, redis, new_id):
    mine, other = new_id(), new_id()
    redis.set(reply_key(mine.text), json.dumps([other.text, 200, "answered", "", []]) + "\nsecret")

    found = store.fetch_many([mine.text])[mine.text]

    assert (found.outcome, found.body) == (Outcome.UNUSABLE, b"")
    assert "another id" in found.detail


class RefusingRedis:
    """A Redis client, and its pool, of which every connection ends in one error."""

    def __init__(self, error):
        self.error = error
        self.connection_pool = self

    def _refuse(self, *args):
        raise self.error

    ping = get_connection = _refuse


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (redis_errors.AuthenticationError("WRONGPASS"), "correct REDIS_URL"),
        (redis_errors.NoPermissionError("NOPERM"), "allow SET, GET, MGET"),
        (redis_errors.OutOfMemoryError("OOM"), "raise maxmemory"),
        (redis_errors.ReadOnlyError("READONLY"), "point REDIS_URL at the primary"),
        (redis_errors.BusyLoadingError("LOADING"), "wait"),
        (redis_errors.TimeoutError("Timeout reading"), "does not answer"),
        (redis_errors.ConnectionError("Error 111"), "cannot be reached"),
        (redis_errors.MasterDownError("MASTERDOWN"), "lost its primary"),
        (redis_errors.ResponseError("Command # 1: NOREPLICAS Not enough"), "bring them back"),
        (redis_errors.ResponseError("MISCONF Valkey is configured"), "cannot write to its disk"),
        (redis_errors.ConnectionError("max number of clients reached"), "raise maxclients"),
        (redis_errors.ResponseError("ERR something new"), "Redis refused"),
    ],
)
def test_redis_trouble_comes_with_its_reason_and_what_to_do(new_id, error, advice):
    store = ReplyStore(RefusingRedis(error), 60)  # type: ignore[arg-type]
    cid = new_id()

    for ask in (
        lambda: store.put_many([(cid, Reply(cid.text))]),
        lambda: store.fetch_many([cid.text]),
        store.ping,
    ):
        with pytest.raises(StoreUnavailable, match=advice) as caught:
            ask()
        assert str(error) in str(caught.value)
        assert caught.value.__cause__ is error


def test_a_redis_that_is_gone_is_reported_at_once_and_not_tried_again_behind_our_back():
    # Port 1 of this machine refuses; the retries of redis-py would take seconds.
    store = ReplyStore.connect("redis://127.0.0.1:1/0", 60)

    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        store.ping()
    store.close()


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "closes"])
def test_a_command_that_fails_is_not_repeated_behind_our_back(hangs):
    connections, stop = [], threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.02)

        def serve():
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    connections.append(server.accept()[0])
                    if not hangs:
                        connections[-1].close()

        thread = threading.Thread(target=serve)
        thread.start()
        store = ReplyStore.connect(f"redis://127.0.0.1:{server.getsockname()[1]}", 60)
        began_s = time.monotonic()
        with pytest.raises(StoreUnavailable, match="does not answer" if hangs else "reached"):
            store.ping()
        took_s = time.monotonic() - began_s
        store.close()
        stop.set()
        thread.join(10)
    for connection in connections:
        connection.close()

    assert len(connections) == 1
    assert took_s < 5


def test_connecting_opens_no_connection_before_it_is_needed():
    ReplyStore.connect("redis://a.host.that.is.not.there.invalid:1/0", 60).close()


@pytest.mark.parametrize(
    ("url", "tls_verify", "required"),
    [
        ("rediss://h:1", True, ssl.CERT_REQUIRED),
        ("rediss://h:1", False, ssl.CERT_NONE),
        ("redis://h:1", False, None),
    ],
)
def test_certificates_are_checked_unless_told_otherwise(url, tls_verify, required):
    store = ReplyStore.connect(url, 60, tls_verify=tls_verify)
    connection = store._redis.connection_pool.make_connection()
    store.close()

    assert getattr(connection, "cert_reqs", None) == required


@pytest.mark.parametrize(
    ("policy", "told"), [("noeviction", None), ("allkeys-lru", "allkeys-lru"), (None, None)]
)
def test_a_policy_that_drops_unread_replies_is_told(store, monkeypatch, policy, told):
    monkeypatch.setattr(
        store._redis, "config_get", lambda name: {} if policy is None else {name: policy}
    )

    assert store.eviction_policy() == told


def test_a_redis_that_does_not_tell_its_policy_is_taken_as_it_is(store, monkeypatch):
    def denied(name):
        raise redis_errors.NoPermissionError("NOPERM")

    monkeypatch.setattr(store._redis, "config_get", denied)

    assert store.eviction_policy() is None


def test_words_are_found_under_their_names_while_they_hold(store, redis):
    store.leave_heartbeats({"a": "one", "b": "two"}, hold_s=10)
    redis.pexpire("served:b", 7_000)
    (a, a_age_ms), (missing, _), (b, b_age_ms) = store.words(["a", "missing", "b"], hold_s=10)

    assert (a, missing, b) == (b"one", None, b"two")
    assert 9_000 < redis.pttl("served:a") <= 10_000
    assert 0 <= a_age_ms < 1_000
    assert 3_000 <= b_age_ms < 4_000


def test_a_reply_is_kept_for_as_long_as_its_id_says_if_that_is_longer(store, redis, ids):
    for keep_s, low_ms, high_ms in ((600, 600_000, 630_000), (5, 60_000, 90_000)):
        cid = ids.read(ids.issue("0a1b2c3d", epoch_ms() + 30_000, keep_s=keep_s))
        store.put_many([(cid, Reply(cid.text))])

        assert low_ms < redis.pttl(reply_key(cid.text)) <= high_ms
        assert low_ms < store.remaining_ms(cid) <= high_ms


def test_an_id_is_not_over_while_it_says_that_its_reply_is_kept(store, ids):
    past_ms = epoch_ms() - 61_000

    assert not store.is_over(ids.read(ids.issue("0a1b2c3d", past_ms, keep_s=600)))
    assert store.is_over(ids.read(ids.issue("0a1b2c3d", past_ms, keep_s=30)))


def test_replies_to_several_nodes_are_asked_for_in_one_round_trip_and_a_slot_at_a_time(
    store, redis, ids, monkeypatch
):
    cids = [
        ids.read(ids.issue(node, epoch_ms() + 30_000))
        for node in ("0a1b2c3d", "ffffffff", "0a1b2c3d", "ffffffff", "00000000")
    ]
    store.put_many([(cid, Reply(cid.text, cid.text.encode())) for cid in cids[:4]])
    trips, ask = [], RedisPipeline.ask

    def noted(line, commands, extras=()):
        trips.append(commands)
        return ask(line, commands, extras)

    monkeypatch.setattr(RedisPipeline, "ask", noted)

    found = store.fetch_many([cid.text for cid in cids])

    assert found == {cid.text: Reply(cid.text, cid.text.encode()) for cid in cids[:4]}
    assert [[{key[7:15] for key in keys} for _, *keys in commands] for commands in trips] == [
        [{"0a1b2c3d"}, {"ffffffff"}, {"00000000"}]
    ]


def test_what_is_unwanted_is_told_in_order_and_once(store):
    nothing, start = store.cancelled_since("")
    store.mark_cancelled("a")
    store.mark_cancelled("b")
    first, place = store.cancelled_since(start)
    store.mark_cancelled("c")
    second, place = store.cancelled_since(place)
    third, again = store.cancelled_since(place)

    assert (nothing, first, second, third) == ([], ["a", "b"], ["c"], [])
    assert again == place
    assert store.cancelled_since("")[0] == ["a", "b", "c"]


def test_what_is_unwanted_goes_by_itself(store, redis, monkeypatch):
    monkeypatch.setattr("rendezvous.redis_store.replies.MAX_UNWANTED", 5)
    for number in range(300):
        store.mark_cancelled(str(number))

    assert 0 < redis.ttl(UNWANTED_KEY) <= UNWANTED_HOLD_S
    # Trimmed in steps: Redis throws away whole nodes of its list.
    assert redis.xlen(UNWANTED_KEY) < 300
    assert store.cancelled_since("")[0] != []


@pytest.mark.parametrize(
    "ask",
    [lambda s: s.mark_cancelled("a"), lambda s: s.cancelled_since("")],
    ids=["marking", "asking"],
)
def test_trouble_with_what_is_unwanted_is_trouble_with_redis(store, redis_server, ask):
    redis_server.connected = False

    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        ask(store)
