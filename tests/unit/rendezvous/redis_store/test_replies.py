"""The reply store: key, encoding and time to live of a reply."""

import json

import pytest
from redis.client import Pipeline
from redis.exceptions import ConnectionError, TimeoutError

from rendezvous.contract import Outcome, Reply
from rendezvous.correlation import epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.replies import MIN_TTL_MS, Put, ReplyStore, reply_key


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


def test_a_fetched_reply_stays_in_the_store(store, new_id):
    cid = new_id()
    store.put_many([(cid, Reply(cid.text))])

    assert store.fetch_many([cid.text]) == store.fetch_many([cid.text]) != {}


def test_a_reply_that_has_not_arrived_is_not_returned(store, new_id):
    here, missing = new_id(), new_id()
    store.put_many([(here, Reply(here.text))])

    assert list(store.fetch_many([missing.text, here.text])) == [here.text]
    assert store.fetch_many([]) == {}


def test_a_reply_lives_until_the_deadline_plus_the_retention(store, redis, new_id):
    cid = new_id(due_in_ms=30_000)
    store.put_many([(cid, Reply(cid.text))])

    assert 60_000 < redis.pttl(reply_key(cid.text)) <= 90_000


def test_without_retention_a_reply_expires_at_the_deadline(redis, new_id):
    cid = new_id(due_in_ms=30_000)
    ReplyStore(redis, retention_s=0).put_many([(cid, Reply(cid.text))])

    assert 0 < redis.pttl(reply_key(cid.text)) <= 30_000


def test_a_reply_just_before_the_deadline_lives_long_enough_for_the_last_poll(redis, new_id):
    cid = new_id(due_in_ms=300)
    store = ReplyStore(redis, retention_s=0)

    assert store.put_many([(cid, Reply(cid.text))]) == [Put.STORED]
    assert 300 < redis.pttl(reply_key(cid.text)) <= MIN_TTL_MS


def test_a_late_reply_is_stored_during_the_retention(store, new_id):
    cid = new_id(due_in_ms=-30_000)

    assert store.put_many([(cid, Reply(cid.text))]) == [Put.STORED]
    assert store.fetch_many([cid.text])


def test_a_reply_after_deadline_and_retention_is_not_stored(store, redis, new_id):
    over, live = new_id(due_in_ms=-61_000), new_id()

    outcomes = store.put_many([(over, Reply(over.text)), (live, Reply(live.text))])

    assert outcomes == [Put.EXPIRED, Put.STORED]
    assert redis.keys() == [reply_key(live.text).encode()]


def test_an_id_is_over_after_deadline_and_retention(store, new_id):
    assert not store.is_over(new_id(due_in_ms=-30_000))
    assert store.is_over(new_id(due_in_ms=-61_000))


def test_the_keys_of_one_node_share_a_cluster_slot():
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
def test_a_stored_value_that_is_not_a_reply_fails_only_its_own_request(store, redis, new_id, value):
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
def test_a_stored_value_that_breaks_the_decoder_is_an_unusable_reply(store, redis, new_id, value):
    cid = new_id()
    redis.set(reply_key(cid.text), value.replace(b"ID", cid.text.encode()))

    assert store.fetch_many([cid.text])[cid.text].outcome is Outcome.UNUSABLE


def test_a_reply_under_the_key_of_another_request_is_unusable(store, redis, new_id):
    own, other = new_id(), new_id()
    redis.set(reply_key(own.text), json.dumps([other.text, 200, "answered", "", []]) + "\nsecret")

    found = store.fetch_many([own.text])[own.text]

    assert (found.outcome, found.body) == (Outcome.UNUSABLE, b"")
    assert "another id" in found.detail


def test_an_unreachable_redis_raises_store_unavailable(store, new_id, redis_server):
    cid = new_id()
    redis_server.connected = False

    for call in (
        lambda: store.put_many([(cid, Reply(cid.text))]),
        lambda: store.fetch_many([cid.text]),
    ):
        with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
            call()
        assert isinstance(caught.value.__cause__, ConnectionError)


def test_a_shard_that_fails_leaves_the_replies_to_other_nodes(store, ids, monkeypatch):
    cids = [ids.read(ids.issue(node, epoch_ms() + 30_000)) for node in ("0a1b2c3d", "ffffffff")]
    store.put_many([(cid, Reply(cid.text)) for cid in cids])
    first, second = (cid.text for cid in cids)
    execute = Pipeline.execute

    def first_fails(pipeline, **options):
        return [TimeoutError("no answer"), *execute(pipeline, **options)[1:]]

    monkeypatch.setattr(Pipeline, "execute", first_fails)

    found, failures = store.fetch_available([first, second])
    assert found == {second: Reply(second)}
    assert {node: error.advice.partition(":")[0] for node, error in failures.items()} == {
        "0a1b2c3d": "Redis does not answer"
    }
    with pytest.raises(StoreUnavailable, match="does not answer"):
        store.fetch_many([first, second])


def test_if_nothing_answers_each_node_has_failed(store, redis_server):
    redis_server.connected = False

    found, failures = store.fetch_available(["0a1b2c3d.x", "ffffffff.x", "0a1b2c3d.y"])
    assert found == {}
    assert set(failures) == {"0a1b2c3d", "ffffffff"}


def test_the_retention_in_an_id_applies_if_it_is_longer(store, redis, ids):
    for keep_s, low_ms, high_ms in ((600, 600_000, 630_000), (5, 60_000, 90_000)):
        cid = ids.read(ids.issue("0a1b2c3d", epoch_ms() + 30_000, keep_s=keep_s))
        store.put_many([(cid, Reply(cid.text))])

        assert low_ms < redis.pttl(reply_key(cid.text)) <= high_ms
        assert low_ms < store.remaining_ms(cid) <= high_ms


def test_an_id_with_longer_retention_is_over_later(store, ids):
    past_ms = epoch_ms() - 61_000

    assert not store.is_over(ids.read(ids.issue("0a1b2c3d", past_ms, keep_s=600)))
    assert store.is_over(ids.read(ids.issue("0a1b2c3d", past_ms, keep_s=30)))


def test_replies_to_several_nodes_are_fetched_in_one_round_trip_with_one_command_per_slot(
    store, redis, ids, monkeypatch
):
    cids = [
        ids.read(ids.issue(node, epoch_ms() + 30_000))
        for node in ("0a1b2c3d", "ffffffff", "0a1b2c3d", "ffffffff", "00000000")
    ]
    store.put_many([(cid, Reply(cid.text, cid.text.encode())) for cid in cids[:4]])
    trips, execute = [], Pipeline.execute

    def noted(pipeline, **options):
        trips.append([arguments for arguments, _ in pipeline.command_stack])
        return execute(pipeline, **options)

    monkeypatch.setattr(Pipeline, "execute", noted)

    found = store.fetch_many([cid.text for cid in cids])

    assert found == {cid.text: Reply(cid.text, cid.text.encode()) for cid in cids[:4]}
    assert [[{key[7:15] for key in keys} for _, *keys in commands] for commands in trips] == [
        [{"0a1b2c3d"}, {"ffffffff"}, {"00000000"}]
    ]
