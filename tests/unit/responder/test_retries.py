"""Retries: a handler that raises Retry is called again, within bounds."""

import json
import math
import threading
import time
from itertools import pairwise

import pytest

from rendezvous.contract import Reply
from responder.registry import Retry
from tests.fakes import eventually
from tests.unit.responder.conftest import record


def failing(times, error=None):
    """Return a handler that raises *times* for each request, and the list of its calls."""
    calls = []

    def handler(request):
        calls.append((request.correlation_id, time.monotonic()))
        if sum(cid == request.correlation_id for cid, _ in calls) <= times:
            raise error or Retry(after_s=0.01)
        return Reply.to(request)

    return handler, calls


def test_a_request_is_handled_again_until_it_is_answered(run):
    handler, calls = failing(2)
    running = run(handler, max_attempts=3, dlq_topic="dead")
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    assert len(calls) == 3
    assert running.replies()["the-id"].header("status") == "200"
    assert running.dead_letters() == []
    assert running.counts == {"retried": 2, "answered": 1}


def test_after_the_last_attempt_the_client_gets_503_and_the_record_is_dead_lettered(run, caplog):
    handler, calls = failing(9, Retry("the warehouse does not answer", after_s=0.01))
    running = run(handler, max_attempts=3, dlq_topic="dead")
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    reply, (letter,) = running.replies()["the-id"], running.dead_letters()
    assert len(calls) == 3
    assert (reply.header("status"), reply.header("retry-after")) == ("503", "1")
    detail = "the warehouse does not answer (3 attempts); send the request again later"
    assert json.loads(reply.value)["detail"] == detail
    assert letter.header("dead-letter-reason") == "retries-exhausted"
    assert letter.header("dead-letter-exception") == "responder.registry.Retry"
    assert letter.header("dead-letter-attempts") == "3"
    assert running.counts == {"retried": 2, "failed": 1, "dead-lettered": 1}
    assert (
        "did not succeed in 3 attempts, the last one ended by responder.registry.Retry"
        in caplog.text
    )


def test_the_dead_letter_names_the_cause_of_the_retry(run):
    def handler(request):
        raise Retry from ConnectionError("secret")

    running = run(handler, dlq_topic="dead")
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    (letter,) = running.dead_letters()
    assert letter.header("dead-letter-exception") == "builtins.ConnectionError"
    assert "secret" not in str(letter.headers)


def test_no_attempt_begins_after_the_deadline(run):
    handler, calls = failing(99, Retry(after_s=0.2))
    running = run(handler, max_attempts=100)
    running.feed(record("the-id", 0, due_in_ms=500))
    eventually(lambda: running.committed() == 1)

    assert len(calls) == 3
    assert running.replies()["the-id"].header("status") == "503"


def test_an_attempt_that_is_late_although_it_was_planned_is_dead_lettered_not_dropped(
    run, monkeypatch
):
    monkeypatch.setattr("responder.request_processor.CLOCK_TOLERANCE_MS", 50)
    # The only thread is taken when the second attempt is due.
    handler, calls = failing(1, Retry(after_s=0.05))

    def one_is_slow(request):
        if request.correlation_id == "slow":
            time.sleep(0.5)
            return Reply.to(request)
        return handler(request)

    running = run(one_is_slow, threads=1, max_attempts=3, dlq_topic="dead")
    running.feed(record("the-id", 0, due_in_ms=300), record("slow", 1))
    eventually(lambda: running.committed() == 2)

    (letter,) = running.dead_letters()
    assert len(calls) == 1
    assert letter.header("correlation-id") == "the-id"
    assert letter.header("dead-letter-attempts") == "1"
    assert "expired" not in running.counts


def test_requests_with_the_same_key_wait_behind_a_retry_and_others_do_not(run):
    handler, calls = failing(1, Retry(after_s=0.2))

    def only_first(request):
        if request.correlation_id == "first":
            return handler(request)
        calls.append((request.correlation_id, time.monotonic()))
        return Reply.to(request)

    running = run(only_first, threads=1, max_attempts=2)
    running.feed(
        record("first", 0, key=b"a"), record("behind", 1, key=b"a"), record("other", 2, key=b"b")
    )
    eventually(lambda: running.committed() == 3)

    # The thread is free during the pause.
    assert [cid for cid, _ in calls] == ["first", "other", "first", "behind"]
    assert calls[2][1] - calls[0][1] >= 0.2


def test_the_pause_doubles_if_the_handler_names_none(run):
    handler, calls = failing(3, Retry())
    running = run(handler, max_attempts=4)
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    pauses_s = [round(after - before, 1) for (_, before), (_, after) in pairwise(calls)]
    assert pauses_s == [0.1, 0.2, 0.4]


def test_a_stop_ends_the_pause_and_leaves_the_request_to_a_successor(run):
    handler, calls = failing(9, Retry(after_s=20))
    running = run(handler, max_attempts=9, dlq_topic="dead")
    running.feed(record("the-id", 3))
    eventually(lambda: running.counts["retried"] == 1)
    started_s = time.monotonic()
    running.end()

    assert time.monotonic() - started_s < 2
    assert len(calls) == 1
    assert running.committed() in (None, 3)
    assert running.producer.sent == []


def test_a_request_cancelled_during_the_pause_is_dropped(run):
    cancelled: set[str] = set()
    handler, calls = failing(9, Retry(after_s=0.1))
    running = run(handler, max_attempts=9, cancelled=cancelled, dlq_topic="dead")
    running.feed(record("the-id", 0))
    eventually(lambda: running.counts["retried"] == 1)
    cancelled.add("the-id")
    eventually(lambda: running.committed() == 1)

    assert len(calls) == 1
    assert running.producer.sent == []
    assert running.counts == {"retried": 1, "cancelled": 1}


@pytest.mark.parametrize("after_s", [-1, math.inf, math.nan])
def test_a_pause_must_be_a_number_of_seconds(after_s):
    with pytest.raises(ValueError, match="is not a number of seconds from 0"):
        Retry(after_s=after_s)


def test_many_retries_take_no_thread(run):
    begun = threading.Semaphore(0)
    handler, _ = failing(1, Retry(after_s=0.3))

    def counting(request):
        begun.release()
        return handler(request)

    running = run(counting, threads=2, max_attempts=2)
    started_s = time.monotonic()
    # As many as the backlog of 2 threads takes at a time.
    running.feed(*[record(f"id-{n}", n) for n in range(8)])
    eventually(lambda: running.committed() == 8)

    assert time.monotonic() - started_s < 0.9
