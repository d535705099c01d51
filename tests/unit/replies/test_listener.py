"""The listener: it stores replies, then commits. Redis errors lose nothing."""

import threading
import time
from types import SimpleNamespace

import pytest
from kafka import errors as kafka_errors

from gateway.exchange.waiting.mailbox import Mailbox
from gateway.exchange.waiting.poller import Poller
from rendezvous.contract import Reply
from rendezvous.correlation import epoch_ms
from rendezvous.kafka_client.consuming.consumer import ResilientConsumer
from rendezvous.process.watchdog import Watchdog
from replies.listener import GATHER_MIN_REPLIES, ReplyListener
from tests.fakes import eventually, raising, record_calls
from tests.unit.replies.conftest import MAX_REPLY_BYTES, P0, P1, Running, record


def test_a_reply_is_stored_then_committed(running, kafka, store, new_id):
    cid = new_id()
    kafka.feed(record(cid, 41, b"answer", status="201"))
    eventually(lambda: kafka.committed_offset(P0) == 42)

    assert store.fetch_many([cid.text]) == {cid.text: Reply(cid.text, b"answer", 201)}
    assert running.counts["stored"] == 1


def test_a_whole_poll_is_stored_in_one_round_trip(running, kafka, store, new_id, monkeypatch):
    puts = record_calls(monkeypatch, store, "put_many")
    kafka.feed(*[record(new_id(), n) for n in range(50)])
    eventually(lambda: kafka.committed_offset(P0) == 50)

    assert [len(replies) for (replies,) in puts] == [50]


def test_each_partition_is_committed_up_to_its_last_record(running, kafka, new_id):
    kafka.feed(record(new_id(), 3), record(new_id(), 9, partition=1), record(new_id(), 4))
    eventually(lambda: kafka.committed_offset(P0) == 5)

    assert kafka.committed_offset(P1) == 10


def test_nothing_is_committed_before_it_is_stored(running, kafka, store, new_id, monkeypatch):
    committed_then, put_many = [], store.put_many

    def watched(many):
        committed_then.append(kafka.committed_offset(P0))
        return put_many(many)

    monkeypatch.setattr(store, "put_many", watched)
    kafka.feed(record(new_id(), 0))
    eventually(lambda: kafka.committed_offset(P0) == 1)
    kafka.feed(record(new_id(), 1))
    eventually(lambda: kafka.committed_offset(P0) == 2)

    assert committed_then == [None, 1]


def test_while_redis_fails_the_listener_pauses_and_commits_nothing(
    running, kafka, store, redis_server, new_id, caplog
):
    first, second = new_id(60_000), new_id(60_000)
    redis_server.connected = False
    kafka.feed(record(first, 0))
    kafka.feed(record(second, 1))
    eventually(lambda: kafka.paused() == {P0})
    polls = kafka.polls
    eventually(lambda: kafka.polls > polls + 3)
    committed_meanwhile, is_waiting = kafka.committed_offset(P0), not kafka.is_drained()
    redis_server.connected = True
    eventually(lambda: kafka.committed_offset(P0) == 2)

    assert committed_meanwhile is None
    assert is_waiting
    assert set(store.fetch_many([first.text, second.text])) == {first.text, second.text}
    assert kafka.paused() == set()
    assert "are kept and retried" in caplog.text


def test_the_watchdog_is_reset_while_redis_fails(running, kafka, redis_server, new_id):
    redis_server.connected = False
    kafka.feed(record(new_id(60_000)))
    eventually(lambda: kafka.paused() == {P0})
    running.listener._watchdog._was_reset = False

    eventually(lambda: running.listener._watchdog._was_reset)


def test_records_of_a_partition_that_is_assigned_while_redis_fails_are_kept(
    running, kafka, store, redis_server, new_id
):
    first, other = new_id(60_000), new_id(60_000)
    redis_server.connected = False
    kafka.feed(record(first, 0))
    eventually(lambda: kafka.paused() == {P0})
    kafka.feed(record(other, 7, partition=1), although_paused=True)
    eventually(lambda: kafka.paused() == {P0, P1})
    redis_server.connected = True
    eventually(lambda: kafka.committed_offset(P1) == 8)

    assert kafka.committed_offset(P0) == 1
    assert set(store.fetch_many([first.text, other.text])) == {first.text, other.text}
    assert kafka.paused() == set()


def test_a_stop_while_redis_fails_commits_only_what_was_stored(
    running, kafka, redis_server, new_id
):
    kafka.feed(record(new_id(), 0))
    eventually(lambda: kafka.committed_offset(P0) == 1)
    redis_server.connected = False
    kafka.feed(record(new_id(), 1))
    eventually(lambda: kafka.paused() == {P0})
    running.end()

    assert kafka.committed_offset(P0) == 1
    assert kafka.closed


def test_stored_replies_are_committed_on_a_stop(kafka, store, ids, heartbeats, new_id, monkeypatch):
    monkeypatch.setattr("replies.listener.COMMIT_INTERVAL_S", 10_000.0)
    monkeypatch.setattr(ReplyListener, "_summarise", lambda self: None)
    running = Running(kafka, store, ids, heartbeats)
    running.listener._committed_s = float("inf")  # no commit before the end
    kafka.feed(record(new_id(), 0))
    eventually(lambda: running.counts["stored"] == 1)
    before = kafka.committed_offset(P0)
    running.end()

    assert (before, kafka.committed_offset(P0)) == (None, 1)


def test_the_first_reply_wins(running, kafka, store, new_id):
    cid = new_id()
    kafka.feed(record(cid, 0, b"first"))
    kafka.feed(record(cid, 1, b"second"), record(cid, 2, b"third"))
    eventually(lambda: kafka.committed_offset(P0) == 3)

    assert store.fetch_many([cid.text])[cid.text].body == b"first"
    assert (running.counts["stored"], running.counts["duplicate"]) == (1, 2)


def test_an_expired_reply_is_not_stored(running, kafka, redis, new_id):
    kafka.feed(record(new_id(-61_000), 0))
    eventually(lambda: kafka.committed_offset(P0) == 1)

    assert redis.keys("reply:*") == []
    assert running.counts["expired"] == 1


def test_a_stored_reply_reaches_its_waiter(running, kafka, store, ids):
    mailbox = Mailbox()
    poller = Poller(store, mailbox)
    poller.start()
    cid = ids.read(ids.issue(mailbox.node, epoch_ms() + 10_000))
    with mailbox.waiting_for(cid.text) as waiter:
        kafka.feed(record(cid, 0, b"answer"))
        reply = waiter.wait(10)
    poller.close()

    assert reply is not None
    assert reply.body == b"answer"


def test_an_unexpected_error_ends_the_run_after_commit_and_close(
    kafka, store, ids, heartbeats, new_id
):
    kafka.feed(record(new_id(), 0))
    kafka.fail_poll(RuntimeError("an unexpected error"))
    listener = ReplyListener(
        ResilientConsumer(kafka),
        store,
        ids,
        Watchdog("the test"),
        heartbeats,
        max_reply_bytes=MAX_REPLY_BYTES,
    )

    with pytest.raises(RuntimeError, match="an unexpected error"):
        listener.run(threading.Event())

    assert kafka.committed_offset(P0) == 1
    assert kafka.closed


@pytest.mark.parametrize(
    ("replies", "is_delayed"), [(GATHER_MIN_REPLIES - 1, 0), (GATHER_MIN_REPLIES, 1)]
)
def test_the_next_poll_is_delayed_after_a_batch_of_several_replies(
    kafka, store, ids, heartbeats, new_id, monkeypatch, replies, is_delayed
):
    delays: list[float] = []
    clock = SimpleNamespace(sleep=delays.append, monotonic=time.monotonic)
    monkeypatch.setattr("replies.listener.time", clock)
    running = Running(kafka, store, ids, heartbeats, gather_s=0.05)
    kafka.feed(*[record(new_id(), n) for n in range(replies)])
    eventually(lambda: kafka.committed_offset(P0) == replies)
    running.end()

    assert delays == [0.05] * is_delayed


def test_heartbeats_name_the_partitions_that_are_read(running, kafka, heartbeats):
    kafka.partitions.append(P1)  # read by another process

    eventually(lambda: (found := heartbeats.state()) and found.unread == (1,))


def test_heartbeats_contain_the_lag(running, kafka, heartbeats, new_id, monkeypatch):
    monkeypatch.setattr("replies.listener.HEARTBEAT_INTERVAL_S", 0.0)
    kafka.highwaters[P0] = 10
    kafka.feed(record(new_id(), 3, timestamp_ms=epoch_ms() - 9_000))

    eventually(lambda: (found := heartbeats.state()) and 9 <= found.lag_s < 60)


def test_there_is_no_heartbeat_before_partitions_are_assigned(kafka, store, ids, heartbeats):
    kafka.assigned.clear()
    running = Running(kafka, store, ids, heartbeats)
    try:
        eventually(lambda: kafka.polls > 3)
        assert heartbeats.state() is None
    finally:
        running.end()


def test_replies_of_a_partition_that_has_just_moved_away_are_stored(
    running, kafka, store, new_id, monkeypatch
):
    monkeypatch.setattr(kafka, "highwater", raising(kafka_errors.IllegalStateError("not assigned")))
    cid = new_id()
    kafka.feed(record(cid, 0))

    eventually(lambda: store.fetch(cid.text) is not None)


def test_a_reply_that_fails_its_client_is_a_line_each_and_no_other_reply_is(
    running, kafka, new_id, caplog
):
    good, failed, late, expired = new_id(), new_id(), new_id(), new_id(-3_600_000)
    kafka.feed(record(good, 0, status="404", timestamp_ms=good.deadline_ms))
    kafka.feed(record(failed, 1, status="503"))
    kafka.feed(record(late, 2, timestamp_ms=late.deadline_ms + 1_500))
    kafka.feed(record(late, 3, timestamp_ms=late.deadline_ms + 1_500))
    kafka.feed(record(expired, 4, status="503", timestamp_ms=late.deadline_ms))
    eventually(lambda: kafka.committed_offset(P0) == 5)

    lines = [(r.getMessage(), r.__dict__["correlation_id"]) for r in caplog.records]
    came_late = ("the reply came 1.5 s after the deadline", late.text)
    assert lines == [("the reply has status 503", failed.text), came_late, came_late]


# Requests whose last value is the reply

LAST = {"kafka_nest-is-disposed": "\0"}


def test_the_last_value_is_stored_and_those_before_are_not(running, kafka, store, new_id):
    cid = new_id(is_stream=True)
    kafka.feed(record(cid, 0, b"1"), record(cid, 1, b"2"))
    eventually(lambda: kafka.committed_offset(P0) == 2)
    assert store.fetch(cid.text) is None
    kafka.feed(record(cid, 2, b"3", **LAST), record(cid, 3, b"4", **LAST))
    eventually(lambda: kafka.committed_offset(P0) == 4)

    assert store.fetch(cid.text).body == b"3"
    assert running.counts == {"partial": 2, "stored": 1, "duplicate": 1}


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_at_an_end_without_a_value_the_latest_value_is_stored(
    running, kafka, store, new_id, is_one_batch
):
    cid, other = new_id(is_stream=True), new_id()
    records = [
        record(cid, 0, b"1"), record(other, 1, b"own"), record(cid, 2, b"2", status="201"),
        record(cid, 3, None, **LAST), record(cid, 4, None, **LAST),
    ]  # fmt: skip
    for batch in [records] if is_one_batch else [[r] for r in records]:
        kafka.feed(*batch)
    eventually(lambda: kafka.committed_offset(P0) == 5)

    assert store.fetch(cid.text) == Reply(cid.text, b"2", 201)
    assert store.fetch(other.text).body == b"own"


def test_a_value_that_is_delivered_again_does_not_replace_a_later_one(
    running, kafka, store, new_id
):
    """By another replies process, or after a crash."""
    cid = new_id(is_stream=True)
    kafka.feed(record(cid, 7, b"1"), record(cid, 8, b"2"))
    eventually(lambda: kafka.committed_offset(P0) == 9)
    kafka.feed(record(cid, 7, b"1"))
    kafka.feed(record(cid, 9, None, **LAST))
    eventually(lambda: kafka.committed_offset(P0) == 10)

    assert store.fetch(cid.text).body == b"2"


def test_an_end_without_any_value_is_a_204(running, kafka, store, new_id):
    cid = new_id(is_stream=True)
    kafka.feed(record(cid, 0, None, **LAST))
    eventually(lambda: kafka.committed_offset(P0) == 1)

    assert store.fetch(cid.text) == Reply(cid.text, b"", 204)


def test_a_failure_after_a_value_is_stored(running, kafka, store, new_id):
    cid = new_id(is_stream=True)
    error = {"kafka_nest-err": '{"statusCode": 404}'}
    kafka.feed(record(cid, 0, b"1"), record(cid, 1, None, **error), record(cid, 2, None, **LAST))
    eventually(lambda: kafka.committed_offset(P0) == 3)

    assert store.fetch(cid.text).status == 404


def test_values_and_ends_wait_for_redis(running, kafka, store, redis_server, new_id):
    cid = new_id(60_000, is_stream=True)
    redis_server.connected = False
    kafka.feed(record(cid, 0, b"1"))
    kafka.feed(record(cid, 1, None, **LAST), although_paused=True)
    eventually(lambda: kafka.paused() == {P0})
    redis_server.connected = True
    eventually(lambda: kafka.committed_offset(P0) == 2)

    assert store.fetch(cid.text).body == b"1"


def test_the_latest_value_expires_with_the_reply(running, kafka, redis, new_id):
    cid = new_id(10_000, is_stream=True)
    kafka.feed(record(cid, 0, b"1"), record(cid, 1, b"2"))
    eventually(lambda: kafka.committed_offset(P0) == 2)

    (key,) = redis.keys("stream:*")
    assert redis.zcard(key) == 1
    assert 60_000 < redis.pttl(key) <= 70_000
