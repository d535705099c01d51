"""A worker with a Redis journal: redelivered requests, and an unreachable journal."""

from dataclasses import replace

import pytest
from kafka import errors as kafka_errors

from rendezvous.contract import Reply
from rendezvous.correlation import CorrelationIds, epoch_ms, new_node
from rendezvous.framework_requests import ID_HEADERS
from responder.clock_skew import CLOCK_TOLERANCE_MS
from responder.dedup.redis_journal import RedisJournal
from responder.registry import Retry
from tests.fakes import FakeProducer, FakeRecord, eventually
from tests.unit.responder.conftest import record


@pytest.fixture
def journal(redis):
    return RedisJournal(redis, "responder", ttl_s=100)


def issued_id():
    """Return an id as a gateway issues it."""
    return CorrelationIds("a secret").issue(new_node(), epoch_ms() + 30_000)


def counting(effects):
    """Return a handler that appends to *effects*."""

    def handler(request):
        effects.append(request.correlation_id)
        return Reply.to(request, b"%d" % len(effects))

    return handler


@pytest.mark.parametrize("key", [b"same", None], ids=["same key", "no key"])
def test_a_redelivered_request_is_handled_once_and_answered_twice(run, journal, key):
    effects: list[str] = []
    running = run(counting(effects), journal=journal)
    running.feed(*[replace(record("the-id", offset, key=b"k"), key=key) for offset in (0, 1)])
    eventually(lambda: running.committed() == 2)

    assert effects == ["the-id"]
    assert [sent.value for sent in running.producer.sent] == [b"1", b"1"]
    assert running.counts == {"answered": 1, "repeated": 1}


@pytest.mark.parametrize("names", [ID_HEADERS[:1], ID_HEADERS], ids=["ours", "all"])
def test_an_id_that_a_service_with_the_headers_of_a_gateway_uses_again_is_handled_again(
    run, journal, names
):
    headers = [(name, b"1") for name in names]
    headers += [("reply-topic", b"replies"), ("deadline", b"%d" % (epoch_ms() + 30_000))]
    first = FakeRecord(b"of Ann", headers, 0, None, "orders", timestamp=1)
    running = run(lambda request: Reply.to(request, request.body), journal=journal)
    running.feed(
        first,
        replace(first, value=b"of Bob", offset=1),
        replace(first, timestamp=2, offset=2),
        replace(first, offset=3),  # a redelivery
    )
    eventually(lambda: running.committed() == 4)

    assert sorted(sent.value for sent in running.producer.sent) == [b"of Ann"] * 3 + [b"of Bob"]
    assert running.counts == {"answered": 3, "repeated": 1}


def test_a_request_that_a_gateway_publishes_again_is_handled_once(run, journal):
    effects: list[str] = []
    published = record(issued_id(), 0)
    running = run(counting(effects), journal=journal)
    running.feed(*[replace(published, offset=n, timestamp=n + 1) for n in range(2)])
    eventually(lambda: running.committed() == 2)

    assert len(effects) == 1
    assert running.counts == {"answered": 1, "repeated": 1}


def test_without_a_journal_a_redelivered_request_is_handled_twice(run):
    effects: list[str] = []
    running = run(counting(effects))
    running.feed(record("the-id", 0), record("the-id", 1))
    eventually(lambda: running.committed() == 2)

    assert effects == ["the-id"] * 2


def test_a_successor_publishes_the_reply_that_a_dead_worker_saved(run, journal, redis):
    effects: list[str] = []
    producer = FakeProducer()
    producer.always = kafka_errors.KafkaTimeoutError("asleep")
    first = run(counting(effects), producer, journal=journal)
    first.feed(record("the-id", 0))
    eventually(lambda: first.counts["answered"] == 1)
    first.end()
    successor = run(counting(effects), journal=RedisJournal(redis, "responder", ttl_s=100))
    successor.feed(record("the-id", 0))
    eventually(lambda: successor.committed() == 1)

    assert first.committed() in (None, 0)
    assert effects == ["the-id"]
    assert successor.replies()["the-id"].value == b"1"


def test_a_failure_is_saved_like_any_other_reply(run, journal):
    effects: list[str] = []

    def broken(request):
        effects.append(request.correlation_id)
        raise RuntimeError("after the effect")

    running = run(broken, journal=journal)
    running.feed(record("the-id", 0), record("the-id", 1))
    eventually(lambda: running.committed() == 2)

    assert effects == ["the-id"]
    assert [sent.header("status") for sent in running.producer.sent] == ["500", "500"]


def test_a_request_waits_while_the_journal_is_unreachable(run, journal, redis_server, caplog):
    effects: list[str] = []
    redis_server.connected = False
    running = run(counting(effects), journal=journal)
    running.feed(record("the-id", 0))
    eventually(lambda: "not handled, the journal does not answer" in caplog.text)
    before = (list(effects), running.committed())
    redis_server.connected = True
    eventually(lambda: running.committed() == 1)

    assert before in (([], None), ([], 0))
    assert effects == ["the-id"]


def test_a_request_is_dropped_at_its_deadline_if_the_journal_stays_unreachable(
    run, journal, redis_server, caplog
):
    effects: list[str] = []
    redis_server.connected = False
    running = run(counting(effects), journal=journal)
    running.feed(record("the-id", 0, due_in_ms=-CLOCK_TOLERANCE_MS + 200))
    eventually(lambda: running.committed() == 1)

    assert effects == []
    assert running.producer.sent == []
    assert running.counts == {"expired": 1}
    (line,) = [line for line in caplog.records if "before it could begin" in line.getMessage()]
    assert line.__dict__["correlation_id"] == "the-id"


def test_a_stopped_worker_leaves_requests_that_wait_for_the_journal_to_a_successor(
    run, journal, redis_server, caplog
):
    effects: list[str] = []
    redis_server.connected = False
    running = run(counting(effects), journal=journal)
    running.feed(record("the-id", 3))
    eventually(lambda: "not handled" in caplog.text)
    running.end()

    assert effects == []
    assert running.committed() in (None, 3)
    assert not running.counts


def test_a_reply_that_is_not_saved_yet_is_not_published(run, journal, redis_server, caplog):
    def losing_redis(request):
        redis_server.connected = False
        return Reply.to(request)

    running = run(losing_redis, journal=journal)
    running.feed(record("the-id", 0))
    eventually(lambda: "handled, but its reply is not saved" in caplog.text)
    published_unsaved = list(running.producer.sent)
    redis_server.connected = True
    eventually(lambda: running.committed() == 1)

    assert published_unsaved == []
    assert list(running.replies()) == ["the-id"]


def test_a_stopped_worker_publishes_a_reply_that_cannot_be_saved(
    run, journal, redis_server, caplog
):
    def losing_redis(request):
        redis_server.connected = False
        return Reply.to(request)

    running = run(losing_redis, journal=journal)
    running.feed(record("the-id", 0))
    eventually(lambda: "handled, but its reply is not saved" in caplog.text)
    running.end()

    assert list(running.replies()) == ["the-id"]
    assert running.committed() == 1


def test_a_redelivery_after_a_failure_is_dead_lettered_again_without_being_handled(run, journal):
    effects: list[str] = []

    def broken(request):
        effects.append(request.correlation_id)
        raise RuntimeError("after the effect")

    running = run(broken, journal=journal, dlq_topic="dead")
    running.feed(record("the-id", 0), record("the-id", 1))
    eventually(lambda: running.committed() == 2)

    assert effects == ["the-id"]
    # The process may have died after it saved the reply and before the dead letter was accepted.
    first, second = running.dead_letters()
    assert first.header("dead-letter-exception") == second.header("dead-letter-exception")


@pytest.mark.parametrize("partition", [0, 1])
def test_a_second_delivery_waits_while_the_first_waits_for_another_attempt(run, journal, partition):
    calls: list[str] = []

    def succeeds_at_second(request):
        calls.append(request.correlation_id)
        if len(calls) == 1:
            raise Retry(after_s=0.3)
        return Reply.to(request, b"%d" % len(calls))

    running = run(succeeds_at_second, threads=2, journal=journal, max_attempts=2)
    running.feed(record("the-id", 0))
    eventually(lambda: running.counts["retried"] == 1)
    running.feed(record("the-id", 1 - partition, partition=partition))
    eventually(lambda: running.counts["repeated"] == 1)

    assert [sent.value for sent in running.producer.sent] == [b"2", b"2"]
    assert running.counts == {"retried": 1, "answered": 1, "repeated": 1}


@pytest.mark.parametrize("end", ["answered", "cancelled"])
def test_no_claim_is_renewed_after_the_last_attempt(run, journal, redis, end):
    cid = issued_id()
    cancelled: set[str] = set()
    calls: list[str] = []

    def handler(request):
        calls.append(request.correlation_id)
        if len(calls) == 1:
            raise Retry(after_s=0.05)
        return Reply.to(request)

    running = run(handler, journal=journal, max_attempts=2, cancelled=cancelled)
    running.feed(record(cid, 0))
    eventually(lambda: running.counts["retried"] == 1)
    if end == "cancelled":
        cancelled.add(cid)
    eventually(lambda: running.counts[end] == 1)

    eventually(lambda: running.committed() == 1)
    redis.flushall()
    # A claim that is held here would be InProgress.
    journal.begin(cid)
