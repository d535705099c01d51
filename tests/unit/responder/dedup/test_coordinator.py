"""Once: handled at most one time while the journal answers, and not at all while it does not."""

import threading
from collections import Counter

import pytest

from rendezvous.contract import Reply, Request
from rendezvous.errors import StoreUnavailable
from responder.dedup import coordinator as once_module
from responder.dedup.coordinator import Deduplicator
from responder.dedup.journal import InProgress

REQUEST = Request("the-id", "orders", "replies", 1_000)
DOWN = StoreUnavailable("Redis cannot be reached: start it")


class FakeJournal:
    """A journal in memory; *troubles* come first, one for each call."""

    def __init__(self, begin=(), save=()):
        self.saved = {}
        self.diary = []
        self._begin_troubles, self._save_troubles = list(begin), list(save)

    def begin(self, correlation_id):
        self.diary.append("begin")
        if self._begin_troubles:
            raise self._begin_troubles.pop(0)
        return self.saved.get(correlation_id)

    def save(self, correlation_id, reply):
        self.diary.append("save")
        if self._save_troubles:
            raise self._save_troubles.pop(0)
        return self.saved.setdefault(correlation_id, reply)

    def end(self, correlation_id):
        self.diary.append("end")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(once_module, "JOURNAL_PAUSE_S", 0.001)


class Handler:
    """Counts its effects."""

    def __init__(self, journal):
        self.effects = 0
        self._diary = journal.diary

    def __call__(self, request):
        self.effects += 1
        self._diary.append("handle")
        return Reply.to(request, b"%d" % self.effects)


def wanted_times(times):
    """Return an is_wanted() that is true so often."""
    answers = iter([True] * times)
    return lambda request: next(answers, False)


def set_up(journal, is_wanted=lambda request: True):
    counts: Counter[str] = Counter()
    once = Deduplicator(journal, is_wanted, lambda kind: counts.update([kind]))
    return once, Handler(journal), counts


def test_a_reply_is_saved_before_anybody_hears_of_it_and_comes_again():
    journal = FakeJournal()
    once, handler, counts = set_up(journal)

    assert once.answer(REQUEST, handler) == once.answer(REQUEST, handler) == Reply("the-id", b"1")
    assert handler.effects == 1
    assert journal.diary == ["begin", "handle", "save", "end", "begin"]
    assert counts == {"repeated": 1}


@pytest.mark.parametrize("trouble", [DOWN, InProgress("the-id")])
def test_nothing_is_handled_while_the_journal_does_not_let_it(trouble, caplog):
    caplog.set_level("INFO")
    once, handler, _ = set_up(FakeJournal(begin=[trouble] * 3))

    assert once.answer(REQUEST, handler) == Reply("the-id", b"1")
    assert handler.effects == 1
    assert "the-id: " in caplog.text
    if trouble is DOWN:
        assert "not handled, the journal cannot be asked (Redis cannot be reached" in caplog.text


def test_a_delivery_that_waits_for_another_gets_its_reply():
    journal = FakeJournal(begin=[InProgress("the-id")] * 3)
    journal.saved["the-id"] = Reply("the-id", b"the other's")
    once, handler, counts = set_up(journal)

    assert once.answer(REQUEST, handler) == Reply("the-id", b"the other's")
    assert handler.effects == 0
    assert counts == {"repeated": 1}


@pytest.mark.parametrize("trouble", [DOWN, InProgress("the-id")])
def test_what_is_not_wanted_any_more_is_not_handled(trouble):
    once, handler, counts = set_up(FakeJournal(begin=[trouble] * 9), wanted_times(3))

    assert once.answer(REQUEST, handler) is None
    assert handler.effects == 0
    assert not counts


def test_a_reply_that_could_not_be_saved_is_saved_later_and_not_handled_again():
    journal = FakeJournal(save=[DOWN, DOWN])
    once, handler, _ = set_up(journal)

    assert once.answer(REQUEST, handler) == Reply("the-id", b"1")
    assert journal.diary == ["begin", "handle", "save", "save", "save", "end"]
    assert handler.effects == 1


def test_a_reply_that_cannot_be_saved_goes_out_when_no_delivery_would_run_any_more(caplog):
    once, handler, _ = set_up(FakeJournal(save=[DOWN] * 9), wanted_times(3))

    assert once.answer(REQUEST, handler) == Reply("the-id", b"1")
    assert "handled, but its reply is not saved" in caplog.text


def test_when_another_has_saved_first_its_reply_is_the_one():
    journal = FakeJournal()
    once, _, _ = set_up(journal)

    def overtaken(request):
        journal.saved["the-id"] = Reply("the-id", b"the other's")
        return Reply.to(request, b"mine")

    assert once.answer(REQUEST, overtaken) == Reply("the-id", b"the other's")


def test_a_claim_ends_however_the_handler_ends():
    journal = FakeJournal()
    once, _, _ = set_up(journal)

    def broken(request):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        once.answer(REQUEST, broken)
    assert journal.diary == ["begin", "end"]


def test_requests_do_not_wait_for_each_other():
    journal = FakeJournal()
    once, _, _ = set_up(journal)
    meeting = threading.Barrier(3)
    bodies = []

    def handle(request):
        meeting.wait(10)
        return Reply.to(request, request.correlation_id.encode())

    def deliver(number):
        request = Request(f"id-{number}", "orders", "replies", 1_000)
        reply = once.answer(request, handle)
        assert reply is not None
        bodies.append(reply.body)

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(bodies) == [b"id-0", b"id-1", b"id-2"]
