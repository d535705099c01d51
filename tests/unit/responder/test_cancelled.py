"""What is unwanted: heard of soon, forgotten in time, and never a reason to stop."""

import pytest

from rendezvous.errors import StoreUnavailable
from responder import cancelled as unwanted_module
from responder.cancelled import CancelledRequests
from tests.fakes import eventually


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(unwanted_module, "LOOK_PAUSE_S", 0.005)
    monkeypatch.setattr(unwanted_module, "TROUBLE_PAUSE_S", 0.005)


@pytest.fixture
def unwanted(store):
    listening = CancelledRequests(store)
    yield listening
    listening.close()


def test_what_was_marked_before_and_after_the_start_is_heard_of(unwanted, store):
    store.mark_cancelled("before")
    unwanted.start()
    eventually(lambda: "before" in unwanted)
    store.mark_cancelled("after")
    eventually(lambda: "after" in unwanted)

    assert "another" not in unwanted


def test_each_look_is_one_question_for_what_is_new(unwanted, store, monkeypatch):
    asked, cancelled_since = [], store.cancelled_since

    def noted(place):
        asked.append(place)
        return cancelled_since(place)

    monkeypatch.setattr(store, "cancelled_since", noted)
    store.mark_cancelled("a")
    unwanted.start()
    eventually(lambda: len(asked) > 3)

    assert asked[0] == ""
    assert len(set(asked[1:])) == 1
    assert asked[1] != ""


def test_redis_is_asked_now_and_then_only(store, monkeypatch):
    pauses = []

    class Once:
        def wait(self, pause_s):
            pauses.append(pause_s)
            return len(pauses) > 2

    monkeypatch.setattr(unwanted_module, "LOOK_PAUSE_S", 0.25)
    listening = CancelledRequests(store)
    listening._closed = Once()  # type: ignore[assignment]
    listening._listen()

    assert pauses == [0.0, 0.25, 0.25]


@pytest.mark.parametrize("error", [StoreUnavailable("Redis cannot be reached"), RuntimeError("x")])
def test_trouble_is_logged_sparingly_and_outlived(unwanted, store, monkeypatch, caplog, error):
    failures, cancelled_since = [error] * 5, store.cancelled_since

    def fails_at_first(place):
        if failures:
            raise failures.pop()
        return cancelled_since(place)

    monkeypatch.setattr(store, "cancelled_since", fails_at_first)
    store.mark_cancelled("a")
    unwanted.start()
    eventually(lambda: "a" in unwanted)

    told = [r for r in caplog.records if r.levelname == "WARNING"]
    assert len(told) == (1 if isinstance(error, StoreUnavailable) else 0)


def test_what_nobody_can_ask_for_any_more_is_forgotten(unwanted, store, monkeypatch):
    monkeypatch.setattr(unwanted_module, "UNWANTED_HOLD_S", 0.05)
    store.mark_cancelled("a")
    unwanted.start()
    eventually(lambda: "a" in unwanted)
    eventually(lambda: "a" not in unwanted)

    assert unwanted._heard_s == {}


def test_of_too_many_the_latest_are_remembered(unwanted, store, monkeypatch):
    monkeypatch.setattr(unwanted_module, "MAX_REMEMBERED", 2)
    for name in ("a", "b", "c"):
        store.mark_cancelled(name)
    unwanted.start()
    eventually(lambda: "c" in unwanted and len(unwanted._heard_s) == 2)

    assert "a" not in unwanted
    assert "b" in unwanted


def test_closing_ends_the_listening_also_while_redis_is_away(store, redis_server):
    redis_server.connected = False
    listening = CancelledRequests(store)
    listening.start()
    listening.close()

    assert not listening._thread.is_alive()
