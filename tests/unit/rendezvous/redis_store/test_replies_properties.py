"""The reply store against its model, and against arbitrary values in its Redis."""

import json

from fakeredis import FakeRedis
from hypothesis import example, given
from hypothesis import strategies as st

from rendezvous.contract import Outcome, Reply
from rendezvous.correlation import CorrelationIds, epoch_ms
from rendezvous.redis_store.replies import Put, ReplyStore, reply_key
from tests.store_model import run_model
from tests.strategies import json_values, pointed_texts, texts, wild_texts
from tests.unit.rendezvous.test_contract_properties import assert_servable, http_headers

ids = CorrelationIds("a secret of the unit tests")
redis = FakeRedis()
store = ReplyStore(redis, retention_s=60)
CID = ids.read(ids.issue("0a1b2c3d", epoch_ms() + 3_600_000))


def test_the_store_behaves_like_its_model():
    run_model(FakeRedis(), max_examples=60, steps=40)


@given(
    st.binary(max_size=100), st.integers(200, 599), http_headers, st.sampled_from(Outcome), texts
)
def test_any_reply_is_fetched_as_it_was_put(body, status, headers, outcome, detail):
    reply = Reply(CID.text, body, status, headers, outcome, detail)
    redis.flushdb()

    assert store.put_many([(CID, reply), (CID, Reply(CID.text))]) == [Put.STORED, Put.DUPLICATE]
    assert store.fetch(CID.text) == reply


stored_heads = st.tuples(
    st.just(CID.text) | texts,
    st.integers() | st.floats() | texts | st.sampled_from([200, 42, "200", None, True, [], 1e400]),
    st.sampled_from(["answered", "failed", "unusable", "", None, [], {}, 1]),
    wild_texts | json_values,
    st.lists(st.lists(pointed_texts | st.sampled_from(["x-a", "location", "é"]), max_size=3))
    | json_values,
)


@given(
    st.binary(max_size=60)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.builds(lambda head, body: json.dumps(head).encode() + b"\n" + body, stored_heads,
                st.binary(max_size=9))
)  # fmt: skip
@example(b"[" * 100_000)
@example(b"9" * 5_000)
@example(b"{}\n")
@example(json.dumps([CID.text, 42, "answered", "", []]).encode())
@example(json.dumps([CID.text, 200, "answered", "", [["x-a", "a\r\nb: c"]]]).encode())
@example(json.dumps([CID.text, 200, "answered", "", [["location", "http://["]]]).encode())
@example(json.dumps([CID.text, 200, "answered", "", ["ab"]]).encode())
def test_any_value_in_redis_is_a_usable_or_an_unusable_reply(value):
    redis.set(reply_key(CID.text), value)

    reply = store.fetch(CID.text)

    assert reply is not None
    assert reply.correlation_id == CID.text
    if reply.outcome is Outcome.ANSWERED:
        assert_servable(reply)
    else:
        assert isinstance(reply.detail, str)


@given(st.lists(st.sampled_from([CID.text, "a", "", "}{", "*"]) | texts, max_size=5))
def test_fetching_any_ids_returns_only_their_replies(texts):
    redis.flushdb()
    store.put_many([(CID, Reply(CID.text, b"the reply"))])

    assert set(store.fetch_many(texts)) == {CID.text} & set(texts)
