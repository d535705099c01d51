"""Replies above MAX_REPLY_BYTES, and records whose values were dropped."""

import pytest

from rendezvous.contract import Outcome
from rendezvous.kafka_client.patches.bounded_batches import DroppedValue
from tests.fakes import FakeRecord, eventually
from tests.unit.replies.conftest import MAX_REPLY_BYTES, P0, record

DROPPED = DroppedValue("its batch has more than 5 bytes decompressed")


def test_a_reply_of_the_maximum_size_is_stored(running, kafka, store, new_id):
    cid = new_id()
    kafka.feed(record(cid, 0, bytes(MAX_REPLY_BYTES)))
    eventually(lambda: kafka.committed_offset(P0) == 1)

    assert len(store.fetch(cid.text).body) == MAX_REPLY_BYTES


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (bytes(MAX_REPLY_BYTES + 1), "10001 bytes; the maximum is 10000 (MAX_REPLY_BYTES)"),
        (DROPPED, "more than 5 bytes decompressed"),
    ],
)
@pytest.mark.parametrize("is_in_key", [True, False])
def test_a_reply_that_is_too_large_becomes_an_unusable_one(
    running, kafka, store, new_id, caplog, value, reason, is_in_key
):
    cid = new_id()
    headers = [] if is_in_key else [("correlation-id", cid.text.encode())]
    key = cid.text.encode() if is_in_key else None
    kafka.feed(FakeRecord(value, headers, 41, key))
    eventually(lambda: kafka.committed_offset(P0) == 42)
    reply = store.fetch(cid.text)

    assert (reply.outcome, reply.body) == (Outcome.UNUSABLE, b"")
    assert reason in reply.detail
    assert f"dropped record replies/0/41 skipped: {DROPPED.reason}"[:35] in caplog.text
    assert running.counts["dropped"] == 1


@pytest.mark.parametrize("key", [None, b"", b"another key", b"\xff"])
def test_a_dropped_record_without_an_id_is_skipped_and_committed(running, kafka, key, new_id):
    kafka.feed(FakeRecord(DROPPED, [], 7, key))
    eventually(lambda: kafka.committed_offset(P0) == 8)

    assert running.counts["dropped"] == 1
    assert running.counts["stored"] == 0
