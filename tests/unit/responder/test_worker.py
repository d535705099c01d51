"""ResponderWorker: concurrency, order, commits, backlog and shutdown."""

import threading
import time
from dataclasses import replace

import pytest
from kafka import errors as kafka_errors

from rendezvous.contract import Reply
from responder import worker
from tests.fakes import FakeFuture, FakeProducer, eventually
from tests.unit.responder.conftest import P0, P1, record


def test_requests_with_the_same_key_are_answered_in_order(run):
    def handler(request):
        # Every other request takes longer than the next.
        time.sleep(0.002 if request.body == b"slow" else 0)
        return Reply.to(request)

    running = run(handler)
    for number in range(20):
        body = b"slow" if number % 2 else b""
        running.feed(record(f"id-{number}", number, key=b"same", body=body))
    eventually(lambda: running.committed() == 20)

    assert list(running.replies()) == [f"id-{number}" for number in range(20)]


@pytest.mark.parametrize("has_key", [True, False])
def test_requests_with_different_keys_or_none_are_handled_concurrently(run, has_key):
    # No request is answered before all of them have begun.
    all_begun = threading.Barrier(4)

    def handler(request):
        all_begun.wait(10)
        return Reply.to(request)

    running = run(handler, threads=4)
    keys = [b"%d" % n if has_key else None for n in range(4)]
    running.feed(*[replace(record(f"id-{n}", n), key=key) for n, key in enumerate(keys)])
    eventually(lambda: len(running.replies()) == 4)

    assert {sent.header("status") for sent in running.producer.sent} == {"200"}


def test_a_slow_request_delays_the_commit_but_not_other_requests(run):
    proceed = threading.Event()

    def slow_first(request):
        if request.correlation_id == "id-1":
            proceed.wait(10)
        return Reply.to(request)

    running = run(slow_first)
    running.feed(*[record(f"id-{n}", n) for n in range(5)])
    eventually(lambda: len(running.replies()) == 4)
    eventually(lambda: running.committed() == 1)
    polls = running.kafka.polls
    eventually(lambda: running.kafka.polls > polls + 5)
    committed_meanwhile = running.committed()
    proceed.set()
    eventually(lambda: running.committed() == 5)

    assert committed_meanwhile == 1
    assert all(offset <= 1 or offset == 5 for c in running.kafka.commits for offset in c.values())


def test_each_partition_is_committed_independently(run):
    proceed = threading.Event()

    def slow_first(request):
        if request.correlation_id == "slow":
            proceed.wait(10)
        return Reply.to(request)

    running = run(slow_first)
    running.feed(record("slow", 0), record("fast", 7, partition=1))
    eventually(lambda: running.committed(P1) == 8)
    before = running.committed(P0)
    proceed.set()
    eventually(lambda: running.committed(P0) == 1)

    assert before in (None, 0)


def test_a_commit_that_failed_is_repeated_without_further_records(run):
    running = run()
    running.kafka.commit_error = kafka_errors.CommitFailedError()
    running.feed(record("the-id", 0))
    eventually(lambda: running.replies())
    polls = running.kafka.polls
    eventually(lambda: running.kafka.polls > polls + 5)
    running.kafka.commit_error = None

    eventually(lambda: running.committed() == 1, within_s=1)


def test_a_commit_that_a_rejoin_prevented_follows_when_the_record_is_delivered_again(
    run, monkeypatch
):
    # Long enough for the second delivery to begin and end between two commits.
    monkeypatch.setattr(worker, "COMMIT_INTERVAL_S", 0.2)
    begun, proceed = threading.Event(), threading.Event()

    def handler(request):
        begun.set()
        proceed.wait(10)
        return Reply.to(request)

    running = run(handler)
    running.feed(record("the-id", 0))
    begun.wait(10)
    running.kafka.rejoin()
    proceed.set()
    eventually(lambda: running.replies())
    time.sleep(0.5)
    before = running.committed()
    running.feed(record("the-id", 0))

    eventually(lambda: running.committed() == 1, within_s=1)
    assert before in (None, 0)


def test_with_a_full_backlog_the_consumer_polls_but_receives_no_records(run):
    proceed = threading.Event()
    running = run(lambda request: proceed.wait(10) and Reply.to(request), threads=1)
    limit = worker.BACKLOG_PER_THREAD
    running.feed(*[record(f"id-{n}", n) for n in range(limit)])
    running.feed(record("more", limit))
    eventually(lambda: running.kafka.paused() == {P0, P1})
    polls = running.kafka.polls
    eventually(lambda: running.kafka.polls > polls + 5)
    not_polled = not running.kafka.is_drained()
    proceed.set()
    eventually(lambda: running.committed() == limit + 1)

    assert not_polled
    assert running.kafka.paused() == set()


def test_a_full_backlog_is_refilled_as_soon_as_a_request_has_finished(run, monkeypatch):
    # Any wait for time alone would outlast the test.
    monkeypatch.setattr(worker, "ROOM_WAIT_S", 60.0)
    count = 20 * worker.BACKLOG_PER_THREAD
    running = run(Reply.to, threads=1)
    for number in range(count):
        running.feed(record(f"id-{number}", number))

    eventually(lambda: len(running.replies()) == count)
    assert not running.kafka.was_paused


def test_replies_without_acknowledgement_count_as_unfinished(run):
    count = 5 * worker.BACKLOG_PER_THREAD
    futures = [FakeFuture() for _ in range(count)]
    running = run(producer=FakeProducer(*futures), threads=1)
    for number in range(count):
        running.feed(record(f"id-{number}", number))
    eventually(lambda: running.kafka.paused() == {P0, P1})
    sent_before = len(running.producer.sent)
    for future in futures[: worker.BACKLOG_PER_THREAD]:
        future.succeed()
    eventually(lambda: len(running.producer.sent) == 2 * worker.BACKLOG_PER_THREAD)
    for future in futures:
        future.succeed()
    eventually(lambda: running.committed() == count)

    assert sent_before == worker.BACKLOG_PER_THREAD
    assert len(running.producer.sent) == count


def test_one_poll_takes_each_batch_while_there_is_room(run, monkeypatch):
    batches = 50
    # Room for all of them, however slow the handlers are.
    monkeypatch.setattr("responder.worker.BACKLOG_PER_THREAD", 10 * batches)
    running = run(Reply.to, threads=1)
    polls_before = running.kafka.polls
    for batch in range(batches):
        running.feed(*[record(f"id-{batch}-{n}", batch * 10 + n) for n in range(10)])
    eventually(running.kafka.is_drained)
    polls = running.kafka.polls - polls_before
    eventually(lambda: len(running.replies()) == 10 * batches)

    # Some before the first batch and after the last.
    assert polls < batches + 10
    assert not running.kafka.was_paused


def test_shutdown_waits_for_acknowledgements(run):
    future = FakeFuture()
    running = run(producer=FakeProducer(future))
    running.feed(record("the-id", 0))
    eventually(lambda: running.producer.sent)
    running.stop.set()
    eventually(lambda: running.processor._is_stopping)
    future.succeed()
    running.end()

    assert running.committed() == 1


def test_shutdown_finishes_begun_requests_and_leaves_the_others(run):
    begun, proceed = threading.Event(), threading.Event()

    def slow(request):
        begun.set()
        proceed.wait(10)
        return Reply.to(request)

    running = run(slow, threads=1)
    running.feed(record("begun", 0), record("queued", 1))
    begun.wait(10)
    running.stop.set()
    eventually(lambda: running.processor._is_stopping)
    proceed.set()
    running.end()

    assert list(running.replies()) == ["begun"]
    assert running.committed() == 1
    assert running.kafka.closed
    assert not running.producer.closed  # by the entry point that built it


class Slow:
    """A handler that waits for *proceed* with a request whose body is "slow"."""

    def __init__(self):
        self.begun, self.proceed = threading.Event(), threading.Event()

    def __call__(self, request):
        if request.body == b"slow":
            self.begun.set()
            assert self.proceed.wait(10)
        return Reply.to(request)


@pytest.fixture
def stopping(run, monkeypatch):
    """Return a worker that was told to stop while a handler works on "slow", its first request."""
    monkeypatch.setattr(worker, "ROOM_WAIT_S", 0.005)
    handler = Slow()

    def start(*records, producer=None):
        running = run(handler, producer)
        running.proceed = handler.proceed
        running.feed(record("slow", 0, body=b"slow"), *records)
        assert handler.begun.wait(10)
        eventually(lambda: len(running.replies()) == len(records))
        running.stop.set()
        eventually(lambda: running.processor._is_stopping)
        return running

    yield start
    handler.proceed.set()


def await_polls(running, number=5):
    polls = running.kafka.polls
    eventually(lambda: running.kafka.polls >= polls + number)


def test_shutdown_publishes_the_reply_of_a_handler_however_long_that_takes(stopping, monkeypatch):
    monkeypatch.setattr(worker, "FINISH_S", 0.02)
    running = stopping()
    stopped_s = time.monotonic()
    eventually(lambda: time.monotonic() > stopped_s + 2 * worker.FINISH_S)
    running.proceed.set()
    running.end()

    assert list(running.replies()) == ["slow"]
    assert running.committed() == 1


def test_a_stopping_worker_keeps_its_partitions_and_commits_until_its_handlers_have_ended(stopping):
    acknowledgement = FakeFuture()
    running = stopping(record("fast", 7, partition=1), producer=FakeProducer(acknowledgement))
    running.feed(record("next", 8, partition=1))
    await_polls(running)
    acknowledgement.succeed()
    eventually(lambda: running.committed(P1) == 8)
    paused, closed = running.kafka.paused(), running.kafka.closed
    running.proceed.set()
    running.end()

    assert (paused, closed) == ({P0, P1}, False)
    assert set(running.replies()) == {"slow", "fast"}
    assert (running.committed(P0), running.committed(P1)) == (1, 8)


def test_a_stopping_worker_leaves_what_it_still_reads_to_a_successor(stopping):
    running = stopping()
    assigned_just_now = record("new", 4, partition=1)
    running.kafka.feed(assigned_just_now, although_paused=True)
    eventually(running.kafka.is_drained)
    await_polls(running, 2)
    running.kafka.positions[P1] = 5
    running.kafka.fail_poll(ValueError("it cannot be decoded"), decoding=P1)
    eventually(running.kafka.is_drained)
    await_polls(running)
    running.proceed.set()
    running.end()

    assert list(running.replies()) == ["slow"]
    assert (running.committed(P0), running.committed(P1)) == (1, 4)


def test_a_stopping_worker_whose_handler_takes_long_leaves_its_partitions_to_others(
    stopping, monkeypatch
):
    monkeypatch.setattr(worker, "KEEP_PARTITIONS_S", 0.0)
    running = stopping(record("fast", 7, partition=1))
    eventually(lambda: running.kafka.closed)
    replies = list(running.replies())
    running.proceed.set()
    running.end()

    assert replies == ["fast"]
    assert list(running.replies()) == ["fast", "slow"]
    # What has not finished is delivered again.
    assert (running.committed(P0), running.committed(P1)) == (0, 8)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_of_the_library_during_shutdown_loses_no_reply(stopping):
    running = stopping()
    running.kafka.fail_poll(AssertionError("of the library"))
    eventually(running.kafka.is_drained)
    running.proceed.set()
    running.end()

    assert list(running.replies()) == ["slow"]
    assert running.committed() == 1
    assert running.kafka.closed


def test_each_turn_of_the_loop_resets_the_watchdog(run):
    running = run()
    running.watchdog._was_reset = False

    eventually(lambda: running.watchdog._was_reset)


def test_the_outcomes_are_logged_at_the_end(run, caplog):
    caplog.set_level("INFO")
    running = run()
    running.feed(record("the-id", 0), record("late", 1, due_in_ms=-10_000))
    eventually(lambda: running.committed() == 2)
    running.end()

    assert "answered 1" in caplog.text
    assert "expired 1" in caplog.text
