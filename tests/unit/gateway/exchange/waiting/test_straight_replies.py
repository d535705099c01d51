"""StraightReplies: the first reply wins, by whichever way it comes."""

import pytest

from gateway.exchange.cancellation import cancellation
from gateway.exchange.waiting.poller import Poller
from gateway.exchange.waiting.straight_replies import STRAIGHT_IN_A_ROW, StraightReplies
from rendezvous.contract import Outcome, Reply
from rendezvous.correlation import CorrelationIds, epoch_ms
from rendezvous.kafka_client.patches.bounded_batches import DroppedValue
from rendezvous.redis_store.replies import Put
from tests.fakes import FakeRecord

MAX_REPLY_BYTES = 1_000


@pytest.fixture
def straight(mailbox, store, ids):
    found = StraightReplies(mailbox, store, ids, MAX_REPLY_BYTES)
    found.is_read = True
    return found


@pytest.fixture
def poller(store, mailbox, straight):
    """A poller that polls when the test says so."""
    return Poller(store, mailbox, comes_straight=straight.come_for, on_found=straight.note_detour)


@pytest.fixture
def commands(redis, monkeypatch):
    """The Redis commands of the test."""
    found = []
    execute = redis.execute_command

    def recording(*args, **options):
        found.append(args[0])
        return execute(*args, **options)

    pipeline = redis.pipeline

    def recording_pipeline(*args, **options):
        found.append("pipeline")
        return pipeline(*args, **options)

    monkeypatch.setattr(redis, "execute_command", recording)
    monkeypatch.setattr(redis, "pipeline", recording_pipeline)
    return found


def reply_record(cid, body=b"straight", **headers):
    named = [(name, value.encode()) for name, value in headers.items()]
    return FakeRecord(body, [("correlation-id", cid.text.encode()), *named])


def own(mailbox, cid, topic="echo"):
    """Register a client whose request no other client can ask about."""
    return mailbox.waiting_for(cid.text, topic, is_shared=False)


def shared(mailbox, cid, topic="echo"):
    """Register a client whose reply others may ask for, for example with its key."""
    return mailbox.waiting_for(cid.text, topic, is_shared=True)


def test_a_reply_whose_headers_are_lost_is_known_by_its_record_key(straight, mailbox, new_id):
    cid, other = new_id(), new_id()
    record = FakeRecord(DroppedValue("its batch is too large"), [], 0, b"node-1")
    with (
        mailbox.waiting_for(other.text, "echo", is_shared=False, reply_key=b"node-2") as stranger,
        mailbox.waiting_for(cid.text, "echo", is_shared=False, reply_key=b"node-1") as waiter,
    ):
        straight.settle([record])

        assert waiter.wait(0).outcome is Outcome.UNUSABLE
        assert stranger.wait(0) is None


# Requests of one client


def test_a_reply_settles_its_waiter_without_any_redis_command(straight, mailbox, new_id, commands):
    cid = new_id()
    with own(mailbox, cid) as waiter:
        straight.settle([reply_record(cid, status="201")])

        assert waiter.wait(0) == Reply(cid.text, b"straight", 201)
    assert commands == []
    assert straight.counts == {"straight": 1}


def test_all_replies_of_a_batch_settle_their_waiters(straight, mailbox, new_id):
    one, other = new_id(), new_id()
    with own(mailbox, one) as first, own(mailbox, other) as second:
        straight.settle([reply_record(other, b"2"), reply_record(one, b"1")])

        assert (first.wait(0).body, second.wait(0).body) == (b"1", b"2")


def test_replies_to_requests_of_other_processes_in_the_same_partition_are_ignored(
    straight, mailbox, new_id, commands
):
    mine, foreign = new_id(), new_id()
    with own(mailbox, mine) as waiter:
        straight.settle([reply_record(foreign)])

        assert waiter.wait(0) is None
    assert commands == []
    assert straight.counts == {}


def test_a_late_reply_is_left_to_the_replies_process(straight, mailbox, new_id, commands):
    cid = new_id()
    with own(mailbox, cid):
        pass
    straight.settle([reply_record(cid)])

    assert commands == []
    assert straight.counts == {}


@pytest.mark.parametrize(
    "record",
    [
        FakeRecord(b"x", []),
        FakeRecord(None, [("correlation-id", b"a"), ("correlation_id", b"b")]),
        FakeRecord(DroppedValue("too much"), [], 0, b"\xff"),
    ],
)
def test_a_malformed_record_does_not_keep_the_others_from_their_waiters(
    straight, mailbox, new_id, record
):
    cid = new_id()
    with own(mailbox, cid) as waiter:
        straight.settle([record, reply_record(cid)])

        assert waiter.wait(0) is not None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (bytes(MAX_REPLY_BYTES + 1), "it has 1001 bytes; the maximum is 1000 (MAX_REPLY_BYTES)"),
        (DroppedValue("its batch is too large"), "its batch is too large"),
    ],
)
def test_a_reply_that_is_too_large_is_an_unusable_one(straight, mailbox, new_id, value, reason):
    cid = new_id()
    with own(mailbox, cid) as waiter:
        straight.settle([reply_record(cid, value)])
        reply = waiter.wait(0)

    assert (reply.outcome, reply.body) == (Outcome.UNUSABLE, b"")
    assert reason in reply.detail


def test_a_request_that_spring_dead_lettered_to_the_reply_topic_is_a_failure(
    straight, mailbox, new_id
):
    cid = new_id()
    headers = [("reply-topic", b"replies"), ("kafka_dlt-exception-fqcn", b"java.lang.E")]
    with own(mailbox, cid) as waiter:
        straight.settle([FakeRecord(b"x", [("correlation-id", cid.text.encode()), *headers])])
        reply = waiter.wait(0)

    assert (reply.outcome, reply.body) == (Outcome.FAILED, b"")
    assert "java" not in reply.detail


def test_a_reply_that_cannot_be_a_response_is_an_unusable_one(straight, mailbox, new_id):
    cid = new_id()
    with own(mailbox, cid) as waiter:
        straight.settle([reply_record(cid, status="99")])

        assert waiter.wait(0).outcome is Outcome.UNUSABLE


def test_without_redis_every_reply_settles_its_waiter(mailbox, ids, new_id):
    straight, cid = StraightReplies(mailbox, None, ids, MAX_REPLY_BYTES), new_id()
    with shared(mailbox, cid) as waiter:
        straight.settle([reply_record(cid)])

        assert waiter.wait(0) == Reply(cid.text, b"straight")


# The rule: the first reply wins


def test_of_two_replies_that_come_straight_the_first_one_wins(straight, mailbox, new_id, store):
    one, other = new_id(), new_id()
    with own(mailbox, one) as mine, shared(mailbox, other) as kept:
        straight.settle([reply_record(cid, body) for body in (b"1", b"2") for cid in (one, other)])

        assert (mine.wait(0).body, kept.wait(0).body) == (b"1", b"1")
    assert store.fetch(other.text).body == b"1"
    assert straight.counts == {"straight": 2}


@pytest.mark.parametrize("is_straight_first", [True, False])
def test_the_same_reply_by_both_ways_settles_its_waiter_once(
    straight, poller, mailbox, store, new_id, is_straight_first
):
    cid = new_id()
    store.put_many([(cid, Reply(cid.text, b"straight"))])
    ways = [lambda: straight.settle([reply_record(cid)]), lambda: poller._poll([cid.text])]
    with own(mailbox, cid) as waiter:
        for way in ways if is_straight_first else reversed(ways):
            way()

        assert waiter.wait(0) == Reply(cid.text, b"straight")
    assert straight.counts == {"straight" if is_straight_first else "redis": 1}


def test_of_two_replies_by_two_ways_this_process_takes_the_first_for_its_own_client(
    straight, poller, mailbox, store, new_id
):
    cid = new_id()
    store.put_many([(cid, Reply(cid.text, b"of the store"))])
    with own(mailbox, cid) as waiter:
        straight.settle([reply_record(cid)])
        poller._poll([cid.text])

        assert waiter.wait(0).body == b"straight"


def test_a_shared_reply_is_stored_before_anyone_gets_it(straight, mailbox, store, new_id):
    cid = new_id()
    with shared(mailbox, cid) as waiter:
        put_many, waited = store.put_many, []

        def watched(replies):
            waited.append(waiter.wait(0))
            return put_many(replies)

        store.put_many = watched
        straight.settle([reply_record(cid)])

        assert waited == [None]
        assert waiter.wait(0) == store.fetch(cid.text) == Reply(cid.text, b"straight")


def test_of_two_shared_replies_by_two_ways_the_stored_one_wins(straight, mailbox, store, new_id):
    cid = new_id()
    store.put_many([(cid, Reply(cid.text, b"stored"))])
    with shared(mailbox, cid) as waiter:
        straight.settle([reply_record(cid)])

        assert waiter.wait(0).body == b"stored"
    assert store.fetch(cid.text).body == b"stored"


def test_a_cancellation_that_was_stored_first_wins(straight, mailbox, store, new_id):
    cid = new_id()
    store.put_many([(cid, cancellation(cid.text))])
    with shared(mailbox, cid) as waiter:
        straight.settle([reply_record(cid)])

        assert waiter.wait(0) == cancellation(cid.text)


def test_a_cancellation_after_the_reply_is_too_late(straight, mailbox, store, new_id):
    cid = new_id()
    with shared(mailbox, cid) as waiter:
        straight.settle([reply_record(cid)])

        assert store.put_many([(cid, cancellation(cid.text))]) == [Put.DUPLICATE]
        assert waiter.wait(0).body == b"straight"


def test_all_shared_replies_of_a_batch_are_stored_in_one_round_trip(
    straight, mailbox, new_id, commands
):
    cids = [new_id() for _ in range(5)]
    waiters = [shared(mailbox, cid) for cid in cids]
    straight.settle([reply_record(cid) for cid in cids])

    assert all(waiter.wait(0) is not None for waiter in waiters)
    assert commands == ["pipeline"]


def test_while_redis_fails_shared_replies_wait_for_it_and_the_others_do_not(
    straight, poller, mailbox, store, redis_server, new_id, caplog
):
    kept, mine = new_id(30_000), new_id(30_000)
    with shared(mailbox, kept) as patient, own(mailbox, mine) as waiter:
        redis_server.connected = False
        straight.settle([reply_record(kept), reply_record(mine)])

        assert patient.wait(0) is None
        assert waiter.wait(0) is not None
        redis_server.connected = True
        # The replies process has another reply, which was the first to be stored.
        store.put_many([(kept, Reply(kept.text, b"stored"))])
        poller._poll([kept.text])
        assert patient.wait(0).body == b"stored"
    assert "1 replies wait for it" in caplog.text


def test_an_expired_reply_settles_no_waiter(straight, mailbox, new_id):
    cid = new_id(-61_000)
    with shared(mailbox, cid) as waiter:
        straight.settle([reply_record(cid)])

        assert waiter.wait(0) is None


def test_a_waiter_whose_id_is_not_accepted_any_more_does_not_stop_the_others(
    straight, mailbox, new_id
):
    others = CorrelationIds("another secret of these tests")
    foreign, cid = others.read(others.issue("0a1b2c3d", epoch_ms() + 3_000)), new_id()
    with shared(mailbox, foreign) as one, shared(mailbox, cid) as other:
        straight.settle([reply_record(foreign), reply_record(cid)])

        assert one.wait(0) is None
        assert other.wait(0) is not None


# Detours


def test_replies_are_expected_straight_only_while_the_partition_is_read(straight, mailbox, new_id):
    with own(mailbox, new_id()) as waiter:
        assert straight.come_for(waiter)
        straight.is_read = False
        assert not straight.come_for(waiter)


def test_replies_to_an_unknown_topic_are_expected_in_redis(straight, mailbox, new_id):
    with mailbox.waiting_for(new_id().text) as waiter:
        assert not straight.come_for(waiter)


def detour(straight, poller, mailbox, store, cid, topic="echo"):
    """Let the poller find a reply."""
    with own(mailbox, cid, topic):
        store.put_many([(cid, Reply(cid.text))])
        poller._poll([cid.text])


def test_a_topic_whose_reply_came_through_redis_is_polled_for_soon(
    straight, poller, mailbox, store, new_id
):
    detour(straight, poller, mailbox, store, new_id(), "elsewhere")

    with own(mailbox, new_id(), "elsewhere") as waiter, own(mailbox, new_id(), "echo") as other:
        assert not straight.come_for(waiter)
        assert straight.come_for(other)
        assert poller._due_s(waiter) - waiter.since_s < 0.01
        assert poller._due_s(other) - other.since_s > 0.2
    assert straight.counts == {"redis": 1}


def test_a_topic_is_expected_straight_again_after_a_row_of_straight_replies(
    straight, poller, mailbox, store, new_id
):
    detour(straight, poller, mailbox, store, new_id())
    expected = []
    for _ in range(STRAIGHT_IN_A_ROW):
        cid = new_id()
        with own(mailbox, cid) as waiter:
            expected.append(straight.come_for(waiter))
            straight.settle([reply_record(cid)])
    with own(mailbox, new_id()) as waiter:
        assert straight.come_for(waiter)

    assert expected == [False] * STRAIGHT_IN_A_ROW


def test_another_detour_begins_the_row_again(straight, poller, mailbox, store, new_id):
    for replies in (0, STRAIGHT_IN_A_ROW - 1):
        for _ in range(replies):
            cid = new_id()
            with own(mailbox, cid):
                straight.settle([reply_record(cid)])
        detour(straight, poller, mailbox, store, new_id())
    cid = new_id()
    with own(mailbox, cid) as waiter:
        straight.settle([reply_record(cid)])

        assert not straight.come_for(waiter)


def test_the_counts_are_logged_when_they_have_changed(straight, mailbox, new_id, caplog):
    caplog.set_level("INFO")
    cid = new_id()
    with own(mailbox, cid):
        straight.settle([reply_record(cid)])
    straight.log()
    straight.log()

    assert caplog.messages == ["replies so far: 1 straight from Kafka, 0 through Redis"]


# Requests whose last value is the reply


def value(cid, body):
    return FakeRecord(body, [("kafka_correlationId", cid.text.encode())])


def last(cid, body):
    headers = [("kafka_correlationId", cid.text.encode()), ("kafka_nest-is-disposed", b"\0")]
    return FakeRecord(body, headers)


def failure(cid):
    headers = [("kafka_correlationId", cid.text.encode()), ("kafka_nest-err", b"no stock")]
    return FakeRecord(None, headers)


@pytest.mark.parametrize("register", [own, shared])
def test_the_last_value_settles_its_waiter_and_those_before_do_not(
    straight, mailbox, new_id, register
):
    cid = new_id(is_stream=True)
    with register(mailbox, cid) as waiter:
        straight.settle([value(cid, b"1"), value(cid, b"2")])
        assert waiter.wait(0) is None
        straight.settle([last(cid, b"3"), last(cid, b"4")])

        assert waiter.wait(0).body == b"3"


def test_of_another_request_the_first_value_is_the_reply(straight, mailbox, new_id):
    cid = new_id()
    with own(mailbox, cid) as waiter:
        straight.settle([value(cid, b"1"), last(cid, b"2")])

        assert waiter.wait(0).body == b"1"


def test_a_failure_after_a_value_is_the_reply(straight, mailbox, new_id):
    cid = new_id(is_stream=True)
    with own(mailbox, cid) as waiter:
        straight.settle([value(cid, b"1"), failure(cid), last(cid, None)])

        assert waiter.wait(0).outcome is Outcome.FAILED


def test_an_end_without_a_value_is_left_to_the_replies_process(straight, mailbox, new_id, store):
    """This process may have missed a value; that one reads all of them."""
    cid = new_id(is_stream=True)
    with own(mailbox, cid) as waiter:
        straight.settle([value(cid, b"1"), last(cid, None)])

        assert waiter.wait(0) is None
    assert store.fetch(cid.text) is None


@pytest.mark.parametrize(
    ("values", "expected"), [([b"1", b"2"], (200, b"2")), ([], (204, b"")), ([b""], (200, b""))]
)
def test_without_redis_the_latest_value_is_the_reply(mailbox, ids, new_id, values, expected):
    straight = StraightReplies(mailbox, None, ids, MAX_REPLY_BYTES)
    cid = new_id(is_stream=True)
    with own(mailbox, cid) as waiter:
        straight.settle([*(value(cid, body) for body in values), last(cid, None)])

        reply = waiter.wait(0)
        assert (reply.status, reply.body) == expected
