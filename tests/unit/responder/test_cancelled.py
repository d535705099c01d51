"""Cancelled requests in a responder: learned soon, forgotten in time, and errors are survived."""

import pytest

from rendezvous.errors import StoreUnavailable
from responder import cancelled as cancelled_module
from responder.cancelled import CancelledRequests
from tests.fakes import eventually, record_calls


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(cancelled_module, "POLL_PAUSE_S", 0.005)
    monkeypatch.setattr(cancelled_module, "ERROR_PAUSE_S", 0.005)


@pytest.fixture
def cancelled(cancellations):
    cancelled = CancelledRequests(cancellations)
    yield cancelled
    cancelled.close()


def test_ids_cancelled_before_and_after_the_start_are_learned(cancelled, cancellations):
    cancellations.mark_cancelled("before")
    cancelled.start()
    eventually(lambda: "before" in cancelled)
    cancellations.mark_cancelled("after")
    eventually(lambda: "after" in cancelled)

    assert "another" not in cancelled


def test_each_poll_reads_only_what_is_new(cancelled, cancellations, monkeypatch):
    positions = record_calls(monkeypatch, cancellations, "cancelled_since")
    cancellations.mark_cancelled("a")
    cancelled.start()
    eventually(lambda: len(positions) > 3)

    assert positions[0] == ("",)
    assert len(set(positions[1:])) == 1
    assert positions[1] != ("",)


def test_polls_are_a_pause_apart(cancellations, monkeypatch):
    pauses = []

    class Once:
        def wait(self, pause_s):
            pauses.append(pause_s)
            return len(pauses) > 2

    monkeypatch.setattr(cancelled_module, "POLL_PAUSE_S", 0.25)
    cancelled = CancelledRequests(cancellations)
    cancelled._closed = Once()  # type: ignore[assignment]
    cancelled._run()

    assert pauses == [0.0, 0.25, 0.25]


@pytest.mark.parametrize("error", [StoreUnavailable("Redis cannot be reached"), RuntimeError("x")])
def test_an_error_is_logged_once_and_survived(cancelled, cancellations, monkeypatch, caplog, error):
    failures, cancelled_since = [error] * 5, cancellations.cancelled_since

    def fails_at_first(position):
        if failures:
            raise failures.pop()
        return cancelled_since(position)

    monkeypatch.setattr(cancellations, "cancelled_since", fails_at_first)
    cancellations.mark_cancelled("a")
    cancelled.start()
    eventually(lambda: "a" in cancelled)

    warnings = [r for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == (1 if isinstance(error, StoreUnavailable) else 0)


def test_an_id_is_forgotten_after_its_time_to_live(cancelled, cancellations, monkeypatch):
    monkeypatch.setattr(cancelled_module, "CANCELLED_TTL_S", 0.05)
    cancellations.mark_cancelled("a")
    cancelled.start()
    eventually(lambda: "a" in cancelled)
    eventually(lambda: "a" not in cancelled)

    assert cancelled._learned_s == {}


def test_only_the_latest_ids_are_remembered(cancelled, cancellations, monkeypatch):
    monkeypatch.setattr(cancelled_module, "MAX_REMEMBERED", 2)
    for name in ("a", "b", "c"):
        cancellations.mark_cancelled(name)
    cancelled.start()
    eventually(lambda: "c" in cancelled and len(cancelled._learned_s) == 2)

    assert "a" not in cancelled
    assert "b" in cancelled


def test_closing_stops_the_thread_while_redis_is_unreachable(cancellations, redis_server):
    redis_server.connected = False
    cancelled = CancelledRequests(cancellations)
    cancelled.start()
    cancelled.close()

    assert not cancelled._thread.is_alive()
