"""RequestProcessor: which requests are handled, and how failures are answered."""

import asyncio
import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from rendezvous.contract import NO_DEADLINE_MS, Reply, Request
from rendezvous.correlation import epoch_ms
from rendezvous.kafka_client.patches.bounded_batches import DroppedValue
from responder.registry import HandlerError
from tests.fakes import FakeRecord, Panic, eventually, raising
from tests.support.metric_values import Increase
from tests.unit.responder.conftest import P0, record


def test_a_request_is_answered_on_its_reply_topic_with_its_id_and_key(run):
    labels = {"topic": "orders", "outcome": "answered"}
    counted = Increase("rendezvous_responder_outcomes_total", labels)
    timed = Increase("rendezvous_handler_seconds_count", {"topic": "orders"})
    running = run(lambda request: Reply.to(request, request.body.upper(), status=201))
    running.feed(record("the-id", 41, key=b"k", body=b"tea"))
    eventually(lambda: running.committed() == 42)

    (sent,) = running.producer.sent
    assert (sent.topic, sent.key, sent.value) == ("replies", b"k", b"TEA")
    assert sent.header("correlation-id") == "the-id"
    assert sent.header("status") == "201"
    assert running.counts == {"answered": 1}
    assert counted() == timed() == 1


@pytest.mark.parametrize(
    "headers",
    [[], [("correlation-id", b"a"), ("correlation-id", b"b")], [("correlation-id", b"a")]],
)
def test_a_record_that_is_not_a_request_is_skipped(run, headers, caplog):
    running = run()
    running.feed(
        FakeRecord(b"x", headers, 0, None, "orders"), FakeRecord(None, [], 1, b"k", "orders")
    )
    running.feed(record("the-id", 2))
    eventually(lambda: running.committed() == 3)

    assert running.counts == {"malformed": 2, "answered": 1}
    assert list(running.replies()) == ["the-id"]
    assert "orders/0/0 is not a request" in caplog.text


def test_a_record_whose_value_was_dropped_is_skipped(run, caplog):
    running = run()
    whole = record("the-id", 0)
    running.feed(replace(whole, value=DroppedValue("it has 5 bytes")), record("behind", 1))
    eventually(lambda: running.committed() == 2)

    assert running.counts == {"malformed": 1, "answered": 1}
    assert list(running.replies()) == ["behind"]
    assert "dropped record orders/0/0 skipped: it has 5 bytes" in caplog.text


def test_a_request_with_an_impossible_reply_topic_is_malformed(run):
    running = run()
    request = Request("the-id", "orders", "no such/topic!", epoch_ms() + 10_000, key=b"k")
    key, value, headers = request.encode()
    running.feed(FakeRecord(value, headers, 0, key, "orders"), record("behind", 1, key=b"k"))

    eventually(lambda: running.committed() == 2)

    assert running.counts == {"malformed": 1, "answered": 1}


def test_a_request_past_its_deadline_is_dropped(run):
    handled = []

    def handler(request):
        handled.append(request)
        return Reply.to(request)

    running = run(handler)
    running.feed(record("the-id", 0, due_in_ms=-10_000))
    eventually(lambda: running.committed() == 1)

    assert handled == []
    assert running.producer.sent == []
    assert running.counts == {"expired": 1}


def test_a_small_difference_of_the_clocks_is_tolerated(run):
    running = run()
    running.feed(record("the-id", 0, due_in_ms=-500))
    eventually(lambda: running.committed() == 1)

    assert running.counts == {"answered": 1}


def test_while_our_clock_is_ahead_a_late_request_is_refused_instead_of_dropped(
    run, monkeypatch, caplog
):
    monkeypatch.setattr("responder.clock_skew.MIN_LATE_S", 0.0)
    running = run()
    running.kafka.highwaters[P0] = 0  # the partition is always read to its end
    for offset in range(8):
        running.feed(record(f"id-{offset}", offset, due_in_ms=-3_600_000))
    eventually(lambda: running.committed() == 8)

    assert "this clock is 3600 s or more ahead" in caplog.text
    assert running.counts == {"expired": 8}
    refused = running.replies()["id-7"]
    assert refused.header("status") == "503"
    assert "clock is 3600 s or more ahead of the gateway's" in json.loads(refused.value)["detail"]
    assert "was not carried out" in json.loads(refused.value)["detail"]


@pytest.mark.parametrize(("late_ms", "lines"), [(10_000, 8), (3_600_000, 1)])
def test_each_late_request_is_a_line_unless_it_is_of_an_old_backlog(run, caplog, late_ms, lines):
    running = run()
    running.kafka.highwaters[P0] = 100  # there is more
    running.feed(*[record(f"id-{offset}", offset, due_in_ms=-late_ms) for offset in range(8)])
    eventually(lambda: running.committed() == 8)

    assert caplog.text.count("dropped, its deadline passed") == lines


def test_late_requests_of_a_backlog_do_not_indicate_clock_skew(run, monkeypatch):
    monkeypatch.setattr("responder.clock_skew.MIN_LATE_S", 0.0)
    running = run()
    running.kafka.highwaters[P0] = 100  # there is more
    for offset in range(8):
        running.feed(record(f"id-{offset}", offset, due_in_ms=-3_600_000))
    eventually(lambda: running.committed() == 8)

    assert running.producer.sent == []


def test_a_deadline_too_far_away_is_logged_and_the_request_answered(run, caplog):
    running = run()
    running.feed(record("the-id", 0, due_in_ms=3_600_000))
    eventually(lambda: running.committed() == 1)

    assert running.counts == {"answered": 1}
    assert "this clock is behind the gateways'" in caplog.text


def test_a_request_cancelled_before_it_began_is_dropped(run, caplog):
    caplog.set_level("INFO")
    cancelled: set[str] = set()
    begun, proceed = threading.Event(), threading.Event()
    handled = []

    def handler(request):
        handled.append(request.correlation_id)
        begun.set()
        assert proceed.wait(20)
        return Reply.to(request)

    running = run(handler, threads=1, cancelled=cancelled)
    running.feed(record("begun", 0), record("next", 1), record("last", 2))
    assert begun.wait(10)
    cancelled |= {"begun", "next"}
    proceed.set()
    eventually(lambda: running.committed() == 3)

    assert handled == ["begun", "last"]  # a handler that has begun is not interrupted
    assert list(running.replies()) == ["begun", "last"]
    assert running.counts == {"answered": 2, "cancelled": 1}
    (line,) = [line for line in caplog.records if "cancelled it" in line.getMessage()]
    assert line.__dict__["correlation_id"] == "next"


def test_a_cancelled_request_past_its_deadline_counts_as_expired(run):
    running = run(cancelled={"the-id"})
    running.feed(record("the-id", 0, due_in_ms=-10_000))
    eventually(lambda: running.committed() == 1)

    assert running.counts == {"expired": 1}


def test_an_exception_is_answered_with_500_without_its_traceback(run, caplog):
    running = run(raising(RuntimeError("a secret of ours")))
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    (sent,) = running.producer.sent
    assert sent.header("status") == "500"
    assert sent.header("content-type") == "application/problem+json"
    assert json.loads(sent.value)["correlation_id"] == "the-id"
    assert b"secret" not in sent.value
    assert b"Traceback" not in sent.value
    assert "a secret of ours" in caplog.text
    assert running.counts == {"failed": 1}


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError(), Panic()])
def test_an_exception_of_any_class_is_answered_with_500_and_blocks_nothing(run, error):
    def handler(request):
        if request.body == b"bad":
            raise error
        return Reply.to(request)

    running = run(handler, threads=1)
    running.feed(record("the-id", 0, key=b"k", body=b"bad"), record("behind", 1, key=b"k"))
    eventually(lambda: running.committed() == 2, within_s=1)

    replies = running.replies()
    assert [replies[cid].header("status") for cid in ("the-id", "behind")] == ["500", "200"]
    assert running.counts == {"failed": 1, "answered": 1}


def test_a_handler_error_is_answered_with_its_status_and_detail(run):
    running = run(raising(HandlerError(422, "quantity must be 1 or more")))
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    (sent,) = running.producer.sent
    assert sent.header("status") == "422"
    assert json.loads(sent.value)["detail"] == "quantity must be 1 or more"


@pytest.mark.parametrize(
    ("status", "outcome"), [(400, "answered"), (499, "answered"), (500, "failed"), (599, "failed")]
)
@pytest.mark.parametrize("raises", [True, False])
def test_a_handler_that_refuses_a_request_has_not_failed(run, raises, status, outcome):
    def handler(request):
        if raises:
            raise HandlerError(status, "no")
        return Reply.to(request, status=status)

    running = run(handler)
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    assert running.counts == {outcome: 1}


def test_a_topic_without_a_handler_is_answered_with_500(run):
    running = run()
    request = Request("the-id", "others", "replies", epoch_ms() + 10_000)
    key, value, headers = request.encode()
    running.feed(FakeRecord(value, headers, 0, key, "others"))
    eventually(lambda: running.producer.sent)

    assert running.producer.sent[0].header("status") == "500"


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"body": "text"}, id="str body"),
        pytest.param({"headers": [("x-a", None)]}, id="null header"),
        pytest.param({"status": "created"}, id="str status"),
        pytest.param(None, id="None"),
    ],
)
def test_an_invalid_return_value_is_answered_with_500_and_blocks_nothing(run, wrong: Any):
    running = run(lambda request: wrong and Reply.to(request, **wrong))
    running.feed(record("the-id", 0, key=b"k"), record("behind", 1, key=b"k"))
    eventually(lambda: running.committed() == 2, within_s=0.5)

    assert {sent.header("status") for sent in running.producer.sent} == {"500"}


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (lambda request: Reply.to(request, status=503), "the handler replied with status 503"),
        (raising(HandlerError(500, "down")), "the handler replied with status 500"),
        (raising(ValueError("x")), "the handler failed"),
        (lambda request: Reply.to(request, status=404), None),
        (raising(HandlerError(422, "wrong")), None),
    ],
)
def test_each_failure_of_a_handler_is_a_line_with_fields(run, caplog, handler, message):
    running = run(handler)
    running.feed(record("first", 0), record("second", 1))
    eventually(lambda: running.committed() == 2)

    lines = [r for r in caplog.records if r.name.startswith("responder.")]
    assert [r.getMessage() for r in lines] == ([message] * 2 if message else [])
    for line in lines:
        fields = line.__dict__
        assert (fields["correlation_id"] in ("first", "second"), fields["topic"]) == (
            True,
            "orders",
        )
        assert fields["duration_ms"] >= 0


def test_a_request_without_a_reply_topic_is_handled_at_any_time_and_not_answered(run, caplog):
    handled = []

    def handle(request):
        handled.append((request.correlation_id, request.reply_topic, request.client))
        return Reply.to(request)

    def waiting(offset):
        request = Request(f"id-{offset}", "orders", "", NO_DEADLINE_MS, client="shop")
        key, value, headers = request.encode()
        assert not {"reply-topic", "reply_to", "kafka_replyTopic"} & {name for name, _ in headers}
        return FakeRecord(value, headers, offset, key, "orders", timestamp=1)

    running = run(handle)
    running.feed(waiting(0), waiting(1), record("behind", 2))
    eventually(lambda: running.committed() == 3)

    assert handled[:2] == [("id-0", "", "shop"), ("id-1", "", "shop")]
    assert list(running.replies()) == ["behind"]
    assert running.counts == {"answered": 3}
    assert "set it (NTP)" not in caplog.text


def test_a_request_without_a_reply_topic_is_dead_lettered_if_its_handler_fails(run):
    running = run(raising(RuntimeError("no")), dlq_topic="dead")
    key, value, headers = Request("the-id", "orders", "", NO_DEADLINE_MS).encode()
    running.feed(FakeRecord(value, headers, 0, key, "orders"))
    eventually(lambda: running.committed() == 1)

    assert [sent.topic for sent in running.producer.sent] == ["dead"]
