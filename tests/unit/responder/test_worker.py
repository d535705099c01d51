"""The worker: deadline, handler, reply, then commit; and no request holds up the others."""

import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors

from rendezvous.contract import Reply, Request
from rendezvous.correlation import epoch_ms
from rendezvous.kafka_client.consumer import ResilientConsumer
from rendezvous.process.watchdog import Watchdog
from responder import worker as worker_module
from responder.clock_skew import CLOCK_TOLERANCE_MS
from responder.dedup import coordinator as once_module
from responder.dedup.redis_journal import RedisJournal
from responder.registry import HandlerError
from responder.worker import ResponderWorker
from tests.fakes import FakeConsumer, FakeFuture, FakeProducer, FakeRecord, eventually

P0, P1 = TopicPartition("orders", 0), TopicPartition("orders", 1)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(worker_module, "COMMIT_PAUSE_S", 0.0)
    monkeypatch.setattr(worker_module, "REPLY_PAUSE_S", 0.005)
    monkeypatch.setattr(worker_module, "FINISH_S", 0.5)
    monkeypatch.setattr(once_module, "JOURNAL_PAUSE_S", 0.005)


class Running:
    """A worker in a thread of its own."""

    def __init__(self, handler, producer, threads, journal, unwanted):
        self.kafka = FakeConsumer(P0, P1)
        self.producer = producer
        self.worker = ResponderWorker(
            ResilientConsumer(self.kafka),
            producer,
            {"orders": handler},
            threads,
            Watchdog("the test"),
            journal=journal,
            unwanted=unwanted,
        )
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.worker.run, args=(self.stop,))
        self.thread.start()

    def feed(self, *records):
        self.kafka.feed(*records)

    def replies(self):
        return {sent.header("correlation-id"): sent for sent in self.producer.sent}

    def committed(self, partition=P0):
        return self.kafka.committed_offset(partition)

    def end(self):
        self.stop.set()
        self.thread.join(15)
        assert not self.thread.is_alive()


@pytest.fixture
def run():
    started = []

    def start(handler=Reply.to, producer=None, threads=4, journal=None, unwanted=()):
        started.append(Running(handler, producer or FakeProducer(), threads, journal, unwanted))
        return started[-1]

    yield start
    for running in started:
        running.end()


def record(correlation_id, offset=0, key=None, due_in_ms=30_000, partition=0, **fields):
    request = Request(
        correlation_id, "orders", "replies", epoch_ms() + due_in_ms, key=key, **fields
    )
    sent_key, value, headers = request.encode()
    return FakeRecord(value, headers, offset, sent_key, "orders", partition)


def test_a_request_is_answered_on_its_reply_topic_under_its_id_and_key(run):
    running = run(lambda request: Reply.to(request, request.body.upper(), status=201))
    running.feed(record("the-id", 41, key=b"k", body=b"tea"))
    eventually(lambda: running.committed() == 42)

    (sent,) = running.producer.sent
    assert (sent.topic, sent.key, sent.value) == ("replies", b"k", b"TEA")
    assert sent.header("correlation-id") == "the-id"
    assert sent.header("status") == "201"
    assert running.worker.counts == {"answered": 1}


def test_nothing_is_committed_before_the_reply_is_acknowledged(run):
    future = FakeFuture()
    running = run(producer=FakeProducer(future))
    running.feed(record("the-id", 0))
    eventually(lambda: running.producer.sent)
    polls = running.kafka.polls
    eventually(lambda: running.kafka.polls > polls + 5)
    before = running.committed()
    future.succeed()
    eventually(lambda: running.committed() == 1)

    assert before in (None, 0)


def test_while_our_clock_is_ahead_a_request_is_refused_rather_than_dropped(
    run, monkeypatch, caplog
):
    monkeypatch.setattr("responder.clock_skew.MIN_LATE_S", 0.0)
    running = run()
    running.kafka.highwaters[P0] = 0  # always read to its end
    for offset in range(8):
        running.feed(record(f"id-{offset}", offset, due_in_ms=-3_600_000))
    eventually(lambda: running.committed() == 8)

    assert "this clock is 3600 s or more ahead" in caplog.text
    assert running.worker.counts == {"expired": 8}
    refused = running.replies()["id-7"]
    assert refused.header("status") == "503"
    assert "clock is 3600 s or more ahead of the gateway's" in json.loads(refused.value)["detail"]
    assert "was not carried out" in json.loads(refused.value)["detail"]


def test_a_backlog_is_no_sign_of_a_wrong_clock(run, monkeypatch):
    monkeypatch.setattr("responder.clock_skew.MIN_LATE_S", 0.0)
    running = run()
    running.kafka.highwaters[P0] = 100  # there is more
    for offset in range(8):
        running.feed(record(f"id-{offset}", offset, due_in_ms=-3_600_000))
    eventually(lambda: running.committed() == 8)

    assert running.producer.sent == []


def test_a_deadline_that_nobody_waits_for_is_reported_and_the_request_answered(run, caplog):
    running = run()
    running.feed(record("the-id", 0, due_in_ms=3_600_000))
    eventually(lambda: running.committed() == 1)

    assert running.worker.counts == {"answered": 1}
    assert "this clock is behind the gateways'" in caplog.text


def test_a_request_whose_deadline_is_over_is_dropped(run):
    handled = []

    def handler(request):
        handled.append(request)
        return Reply.to(request)

    running = run(handler)
    running.feed(record("the-id", 0, due_in_ms=-10_000))
    eventually(lambda: running.committed() == 1)

    assert handled == []
    assert running.producer.sent == []
    assert running.worker.counts == {"expired": 1}


def test_clocks_may_differ_a_little(run):
    running = run()
    running.feed(record("the-id", 0, due_in_ms=-500))
    eventually(lambda: running.committed() == 1)

    assert running.worker.counts == {"answered": 1}


@pytest.mark.parametrize(
    "headers",
    [[], [("correlation-id", b"a"), ("correlation-id", b"b")], [("correlation-id", b"a")]],
)
def test_a_record_that_is_no_request_is_skipped(run, headers, caplog):
    running = run()
    running.feed(
        FakeRecord(b"x", headers, 0, None, "orders"), FakeRecord(None, [], 1, b"k", "orders")
    )
    running.feed(record("the-id", 2))
    eventually(lambda: running.committed() == 3)

    assert running.worker.counts == {"malformed": 2, "answered": 1}
    assert list(running.replies()) == ["the-id"]
    assert "orders/0/0 is no request" in caplog.text


def test_an_exception_is_answered_with_500_and_without_its_trace(run, caplog):
    def broken(request):
        raise RuntimeError("a secret of ours")

    running = run(broken)
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    (sent,) = running.producer.sent
    assert sent.header("status") == "500"
    assert sent.header("content-type") == "application/problem+json"
    assert json.loads(sent.value)["correlation_id"] == "the-id"
    assert b"secret" not in sent.value
    assert b"Traceback" not in sent.value
    assert "a secret of ours" in caplog.text
    assert running.worker.counts == {"failed": 1}


def test_a_handler_error_is_answered_with_its_status_and_detail(run):
    def refusing(request):
        raise HandlerError(422, "quantity has to be 1 or more")

    running = run(refusing)
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    (sent,) = running.producer.sent
    assert sent.header("status") == "422"
    assert json.loads(sent.value)["detail"] == "quantity has to be 1 or more"


def test_a_topic_that_nobody_answers_is_a_500(run):
    running = run()
    request = Request("the-id", "others", "replies", epoch_ms() + 10_000)
    key, value, headers = request.encode()
    running.feed(FakeRecord(value, headers, 0, key, "others"))
    eventually(lambda: running.producer.sent)

    assert running.producer.sent[0].header("status") == "500"


def test_requests_with_the_same_key_are_answered_in_order(run):
    def handler(request):
        # Every other one takes longer than the next.
        time.sleep(0.002 if request.body == b"slow" else 0)
        return Reply.to(request)

    running = run(handler)
    for number in range(20):
        body = b"slow" if number % 2 else b""
        running.feed(record(f"id-{number}", number, key=b"same", body=body))
    eventually(lambda: running.committed() == 20)

    assert list(running.replies()) == [f"id-{number}" for number in range(20)]


def test_requests_with_other_keys_are_handled_side_by_side(run):
    # None of them can be answered before all of them have begun.
    meeting = threading.Barrier(4)
    running = run(lambda request: (meeting.wait(10) and None) or Reply.to(request), threads=4)
    running.feed(*[record(f"id-{n}", n, key=b"%d" % n) for n in range(4)])

    eventually(lambda: len(running.replies()) == 4)
    assert {sent.header("status") for sent in running.producer.sent} == {"200"}


def test_requests_without_key_are_handled_side_by_side(run):
    meeting = threading.Barrier(4)

    def handler(request):
        meeting.wait(10)
        return Reply.to(request)

    running = run(handler, threads=4)
    running.feed(*[replace(record(f"id-{n}", n), key=None) for n in range(4)])
    eventually(lambda: len(running.replies()) == 4)

    assert {sent.header("status") for sent in running.producer.sent} == {"200"}


def test_a_slow_request_holds_back_the_commit_but_not_the_others(run):
    go_on = threading.Event()

    def slow_first(request):
        if request.correlation_id == "id-1":
            go_on.wait(10)
        return Reply.to(request)

    running = run(slow_first)
    running.feed(*[record(f"id-{n}", n) for n in range(5)])
    eventually(lambda: len(running.replies()) == 4)
    eventually(lambda: running.committed() == 1)
    polls = running.kafka.polls
    eventually(lambda: running.kafka.polls > polls + 5)
    held_back = running.committed()
    go_on.set()
    eventually(lambda: running.committed() == 5)

    assert held_back == 1
    assert all(offset <= 1 or offset == 5 for c in running.kafka.commits for offset in c.values())


def test_partitions_are_committed_each_for_itself(run):
    go_on = threading.Event()

    def slow_first(request):
        if request.correlation_id == "slow":
            go_on.wait(10)
        return Reply.to(request)

    running = run(slow_first)
    running.feed(record("slow", 0), record("fast", 7, partition=1))
    eventually(lambda: running.committed(P1) == 8)
    before = running.committed(P0)
    go_on.set()
    eventually(lambda: running.committed(P0) == 1)

    assert before in (None, 0)


@pytest.mark.parametrize(
    "trouble",
    [
        kafka_errors.KafkaTimeoutError("no metadata"),
        FakeFuture().fail(kafka_errors.RequestTimedOutError()),
        FakeFuture().fail(kafka_errors.NotEnoughReplicasError()),
    ],
)
def test_a_reply_that_is_not_taken_is_offered_again(run, trouble, caplog):
    running = run(producer=FakeProducer(trouble, trouble))
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    assert "reply not taken by topic replies" in caplog.text
    assert running.producer.sent[-1].header("correlation-id") == "the-id"
    assert running.worker.counts == {"answered": 1}  # the handler ran once


def test_nothing_is_committed_while_a_reply_is_not_taken(run):
    producer = FakeProducer()
    producer.always = kafka_errors.KafkaTimeoutError("asleep")
    running = run(producer=producer)
    running.feed(record("the-id", 0))
    eventually(lambda: running.worker.counts["answered"] == 1)
    polls = running.kafka.polls
    eventually(lambda: running.kafka.polls > polls + 10)
    before = running.committed()
    producer.always = None
    eventually(lambda: running.committed() == 1)

    assert before in (None, 0)


def test_a_reply_that_is_not_taken_until_the_end_is_left_to_a_successor(run):
    producer = FakeProducer()
    producer.always = kafka_errors.KafkaTimeoutError("asleep")
    running = run(producer=producer)
    running.feed(record("the-id", 3))
    eventually(lambda: running.worker.counts["answered"] == 1)
    running.end()

    assert running.committed() in (None, 3)
    assert running.kafka.closed


@pytest.mark.parametrize(
    "error", [kafka_errors.MessageSizeTooLargeError(), kafka_errors.RecordListTooLargeError()]
)
@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_reply_that_is_too_large_becomes_a_502(run, error, when):
    trouble = error if when == "at once" else FakeFuture().fail(error)
    running = run(lambda request: Reply.to(request, b"x" * 1_000), FakeProducer(trouble))
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    sent = running.producer.sent[-1]
    assert sent.header("status") == "502"
    assert "1000 bytes" in json.loads(sent.value)["detail"]


def test_behind_the_handlers_polling_goes_on_but_takes_up_no_more(run):
    go_on = threading.Event()
    running = run(lambda request: go_on.wait(10) and Reply.to(request), threads=1)
    limit = worker_module.BACKLOG_PER_THREAD
    running.feed(*[record(f"id-{n}", n) for n in range(limit)])
    running.feed(record("more", limit))
    eventually(lambda: running.kafka.paused() == {P0, P1})
    polls = running.kafka.polls
    eventually(lambda: running.kafka.polls > polls + 5)
    left_there = not running.kafka.is_drained()
    go_on.set()
    eventually(lambda: running.committed() == limit + 1)

    assert left_there
    assert running.kafka.paused() == set()


def test_shutdown_answers_and_commits_what_has_begun_and_leaves_the_rest(run):
    begun, go_on = threading.Event(), threading.Event()

    def slow(request):
        begun.set()
        go_on.wait(10)
        return Reply.to(request)

    running = run(slow, threads=1)
    running.feed(record("begun", 0), record("queued", 1))
    begun.wait(10)
    running.stop.set()
    eventually(lambda: running.worker._give_up_s < float("inf"))
    go_on.set()
    running.end()

    assert list(running.replies()) == ["begun"]
    assert running.committed() == 1
    assert running.kafka.closed
    assert not running.producer.closed  # whoever made it closes it


def test_the_watchdog_is_told_each_time_the_loop_turns(run):
    running = run()
    running.worker._watchdog._beaten = False

    eventually(lambda: running.worker._watchdog._beaten)


def test_what_became_of_the_requests_is_summed_up_at_the_end(run, caplog):
    caplog.set_level("INFO")
    running = run()
    running.feed(record("the-id", 0), record("late", 1, due_in_ms=-10_000))
    eventually(lambda: running.committed() == 2)
    running.end()

    assert "answered 1" in caplog.text
    assert "expired 1" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"body": "text"}, id="a body of text"),
        pytest.param({"headers": [("x-a", None)]}, id="a null header"),
        pytest.param({"status": "created"}, id="a status of text"),
        pytest.param(None, id="None"),
    ],
)
def test_what_a_handler_should_not_return_is_a_500_and_holds_up_nothing(run, wrong: Any):
    running = run(lambda request: wrong and Reply.to(request, **wrong))
    running.feed(record("the-id", 0, key=b"k"), record("behind", 1, key=b"k"))
    eventually(lambda: running.committed() == 2, within_s=0.5)

    assert {sent.header("status") for sent in running.producer.sent} == {"500"}


def test_a_reply_topic_that_cannot_be_is_a_malformed_request(run):
    running = run()
    request = Request("the-id", "orders", "no such/topic!", epoch_ms() + 10_000, key=b"k")
    key, value, headers = request.encode()
    running.feed(FakeRecord(value, headers, 0, key, "orders"), record("behind", 1, key=b"k"))

    eventually(lambda: running.committed() == 2, within_s=0.5)


def test_a_reply_that_nobody_waits_for_any_more_is_given_up(run):
    producer = FakeProducer()
    producer.always = kafka_errors.UnknownTopicOrPartitionError()
    running = run(producer=producer)
    running.feed(record("the-id", 0, due_in_ms=-CLOCK_TOLERANCE_MS + 200))

    eventually(lambda: running.committed() == 1, within_s=1)


@pytest.fixture
def journal(redis):
    return RedisJournal(redis, "responder", ttl_s=100)


def counting(effects):
    """Return a handler that notes each of its effects."""

    def handler(request):
        effects.append(request.correlation_id)
        return Reply.to(request, b"%d" % len(effects))

    return handler


@pytest.mark.parametrize("key", [b"same", None], ids=["one lane", "two lanes"])
def test_a_request_that_comes_twice_is_handled_once_and_answered_twice(run, journal, key):
    effects: list[str] = []
    running = run(counting(effects), journal=journal)
    running.feed(*[replace(record("the-id", offset, key=b"k"), key=key) for offset in (0, 1)])
    eventually(lambda: running.committed() == 2)

    assert effects == ["the-id"]
    assert [sent.value for sent in running.producer.sent] == [b"1", b"1"]
    assert running.worker.counts == {"answered": 1, "repeated": 1}


def test_without_a_journal_a_request_that_comes_twice_is_handled_twice(run):
    effects: list[str] = []
    running = run(counting(effects))
    running.feed(record("the-id", 0), record("the-id", 1))
    eventually(lambda: running.committed() == 2)

    assert effects == ["the-id"] * 2


def test_a_successor_repeats_the_reply_that_a_dead_worker_had_saved(run, journal, redis):
    effects: list[str] = []
    producer = FakeProducer()
    producer.always = kafka_errors.KafkaTimeoutError("asleep")
    first = run(counting(effects), producer, journal=journal)
    first.feed(record("the-id", 0))
    eventually(lambda: first.worker.counts["answered"] == 1)
    first.end()
    successor = run(counting(effects), journal=RedisJournal(redis, "responder", ttl_s=100))
    successor.feed(record("the-id", 0))
    eventually(lambda: successor.committed() == 1)

    assert first.committed() in (None, 0)
    assert effects == ["the-id"]
    assert successor.replies()["the-id"].value == b"1"


def test_a_failure_is_remembered_like_any_other_reply(run, journal):
    effects: list[str] = []

    def broken(request):
        effects.append(request.correlation_id)
        raise RuntimeError("after the effect")

    running = run(broken, journal=journal)
    running.feed(record("the-id", 0), record("the-id", 1))
    eventually(lambda: running.committed() == 2)

    assert effects == ["the-id"]
    assert [sent.header("status") for sent in running.producer.sent] == ["500", "500"]


def test_without_its_journal_a_request_waits_and_is_handled_when_it_is_back(
    run, journal, redis_server, caplog
):
    effects: list[str] = []
    redis_server.connected = False
    running = run(counting(effects), journal=journal)
    running.feed(record("the-id", 0))
    eventually(lambda: "not handled, the journal cannot be asked" in caplog.text)
    before = (list(effects), running.committed())
    redis_server.connected = True
    eventually(lambda: running.committed() == 1)

    assert before in (([], None), ([], 0))
    assert effects == ["the-id"]


def test_without_its_journal_a_request_is_dropped_at_its_deadline(
    run, journal, redis_server, caplog
):
    effects: list[str] = []
    redis_server.connected = False
    running = run(counting(effects), journal=journal)
    running.feed(record("the-id", 0, due_in_ms=-CLOCK_TOLERANCE_MS + 200))
    eventually(lambda: running.committed() == 1)

    assert effects == []
    assert running.producer.sent == []
    assert running.worker.counts == {"expired": 1}
    assert "the-id: dropped, its deadline passed before it could begin" in caplog.text


def test_a_worker_that_is_stopped_leaves_what_its_journal_has_not_let_begin(
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
    assert not running.worker.counts


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


def test_a_worker_that_is_stopped_publishes_also_what_cannot_be_saved(
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


def test_a_request_that_was_cancelled_before_it_began_is_dropped(run, caplog):
    caplog.set_level("INFO")
    unwanted: set[str] = set()
    begun, go_on = threading.Event(), threading.Event()
    handled = []

    def handler(request):
        handled.append(request.correlation_id)
        begun.set()
        assert go_on.wait(20)
        return Reply.to(request)

    running = run(handler, threads=1, unwanted=unwanted)
    running.feed(record("begun", 0), record("behind-it", 1), record("wanted", 2))
    assert begun.wait(10)
    unwanted |= {"begun", "behind-it"}
    go_on.set()
    eventually(lambda: running.committed() == 3)

    assert handled == ["begun", "wanted"]  # what has begun goes on
    assert list(running.replies()) == ["begun", "wanted"]
    assert running.worker.counts == {"answered": 2, "cancelled": 1}
    assert "behind-it: dropped, its client has cancelled it" in caplog.text


def test_a_cancelled_request_that_is_late_as_well_counts_as_late(run):
    running = run(unwanted={"the-id"})
    running.feed(record("the-id", 0, due_in_ms=-10_000))
    eventually(lambda: running.committed() == 1)

    assert running.worker.counts == {"expired": 1}
