"""Deduplicator: handles a request once, and not at all while its journal does not answer."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rendezvous.contract import Reply, Request
from rendezvous.errors import StoreUnavailable
from rendezvous.process.counts import OutcomeCounts
from responder.dedup.coordinator import Deduplicator
from responder.dedup.journal import InProgress
from tests.fakes import raising

REQUEST = Request("the-id", "orders", "replies", 1_000)
DOWN = StoreUnavailable("Redis cannot be reached: start it")


class FakeJournal:
    """A journal in memory, whose first calls raise the errors in *begin* and *save*."""

    def __init__(self, begin=(), save=()):
        self.saved = {}
        self.calls = []
        self._begin_errors, self._save_errors = list(begin), list(save)

    def begin(self, correlation_id):
        self.calls.append("begin")
        if self._begin_errors:
            raise self._begin_errors.pop(0)
        return self.saved.get(correlation_id)

    def save(self, correlation_id, reply):
        self.calls.append("save")
        if self._save_errors:
            raise self._save_errors.pop(0)
        return self.saved.setdefault(correlation_id, reply)

    def end(self, correlation_id):
        self.calls.append("end")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("responder.dedup.coordinator.JOURNAL_PAUSE_S", 0.001)


class Handler:
    """A handler that counts its effects."""

    def __init__(self, journal):
        self.effects = 0
        self._calls = journal.calls

    def __call__(self, request):
        self.effects += 1
        self._calls.append("handle")
        return Reply.to(request, b"%d" % self.effects)


def may_begin_times(times):
    """Return a may_begin() that is true for the first *times* calls."""
    answers = iter([True] * times)
    return lambda request: next(answers, False)


def set_up(journal, may_begin=lambda request: True):
    counts = OutcomeCounts()
    return Deduplicator(journal, may_begin, counts), Handler(journal), counts


def test_a_reply_is_saved_before_it_is_returned_and_returned_again():
    journal = FakeJournal()
    deduplicator, handler, counts = set_up(journal)

    replies = [deduplicator.answer(REQUEST, handler) for _ in range(2)]

    assert replies == [Reply("the-id", b"1")] * 2
    assert handler.effects == 1
    assert journal.calls == ["begin", "handle", "save", "end", "begin"]
    assert counts.snapshot() == {"repeated": 1}


@pytest.mark.parametrize("error", [DOWN, InProgress("the-id")])
def test_no_request_is_handled_while_its_journal_raises(error, caplog):
    caplog.set_level("INFO")
    deduplicator, handler, _ = set_up(FakeJournal(begin=[error] * 3))

    assert deduplicator.answer(REQUEST, handler) == Reply("the-id", b"1")
    assert handler.effects == 1
    assert caplog.records[0].__dict__["correlation_id"] == "the-id"
    if error is DOWN:
        assert "not handled, the journal does not answer (Redis cannot be reached" in caplog.text


def test_a_delivery_that_waits_for_another_returns_its_reply():
    journal = FakeJournal(begin=[InProgress("the-id")] * 3)
    journal.saved[REQUEST.journal_id] = Reply(REQUEST.journal_id, b"of the other")
    deduplicator, handler, counts = set_up(journal)

    assert deduplicator.answer(REQUEST, handler) == Reply("the-id", b"of the other")
    assert handler.effects == 0
    assert counts.snapshot() == {"repeated": 1}


@pytest.mark.parametrize("error", [DOWN, InProgress("the-id")])
def test_a_request_that_may_not_begin_any_more_is_not_handled(error):
    deduplicator, handler, counts = set_up(FakeJournal(begin=[error] * 9), may_begin_times(3))

    assert deduplicator.answer(REQUEST, handler) is None
    assert handler.effects == 0
    assert not counts.snapshot()


def test_saving_a_reply_is_retried_without_handling_the_request_again():
    journal = FakeJournal(save=[DOWN, DOWN])
    deduplicator, handler, _ = set_up(journal)

    assert deduplicator.answer(REQUEST, handler) == Reply("the-id", b"1")
    assert journal.calls == ["begin", "handle", "save", "save", "save", "end"]
    assert handler.effects == 1


def test_an_unsaved_reply_is_returned_once_no_redelivery_would_be_handled(caplog):
    deduplicator, handler, _ = set_up(FakeJournal(save=[DOWN] * 9), may_begin_times(3))

    assert deduplicator.answer(REQUEST, handler) == Reply("the-id", b"1")
    assert "handled, but its reply is not saved" in caplog.text


def test_a_reply_that_another_delivery_saved_first_is_returned():
    journal = FakeJournal()
    deduplicator, _, _ = set_up(journal)

    def overtaken(request):
        journal.saved[REQUEST.journal_id] = Reply(REQUEST.journal_id, b"of the other")
        return Reply.to(request, b"own")

    assert deduplicator.answer(REQUEST, overtaken) == Reply("the-id", b"of the other")


def test_a_claim_ends_when_the_handler_raises():
    journal = FakeJournal()
    deduplicator, _, _ = set_up(journal)

    with pytest.raises(KeyboardInterrupt):
        deduplicator.answer(REQUEST, raising(KeyboardInterrupt()))
    assert journal.calls == ["begin", "end"]


def test_different_requests_are_handled_concurrently():
    journal = FakeJournal()
    deduplicator, _, _ = set_up(journal)
    all_begun = threading.Barrier(3)

    def handle(request):
        all_begun.wait(10)
        return Reply.to(request, request.correlation_id.encode())

    def deliver(number):
        request = Request(f"id-{number}", "orders", "replies", 1_000)
        reply = deduplicator.answer(request, handle)
        return reply and reply.body

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(deliver, range(3))) == [b"id-0", b"id-1", b"id-2"]


def foreign(sent_ms, body=b"tea"):
    headers = [("correlation_id", b"1"), ("reply_to", b"replies")]
    return Request.decode("orders", None, body, headers, sent_ms=sent_ms, default_deadline_ms=1_000)


def test_an_id_that_another_requester_uses_again_does_not_get_the_saved_reply():
    deduplicator, handler, counts = set_up(FakeJournal())

    requests = [foreign(1), foreign(1), foreign(2), foreign(1, b"milk")]
    replies = [deduplicator.answer(request, handler) for request in requests]

    assert replies == [Reply("1", b"1"), Reply("1", b"1"), Reply("1", b"2"), Reply("1", b"3")]
    assert counts.snapshot() == {"repeated": 1}
