"""The floor keeps requests pending and counts replies in time."""

import time

import pytest

from tools.bench.load.floor import Floor


class Wire:
    """Replies at the next poll, except to the first *silent* requests."""

    def __init__(self, silent=0):
        self.sent = []
        self.maximum = 0
        self._silent = silent
        self._pending = []

    def send(self, correlation_id, body, headers):
        self.sent.append((correlation_id, body, dict(headers)))
        if len(self.sent) > self._silent:
            self._pending.append(correlation_id)

    def poll(self):
        self.maximum = max(self.maximum, len(self._pending))
        taken, self._pending = self._pending, []
        time.sleep(0.001)
        yield from taken

    def close(self):
        pass


def test_the_number_of_pending_requests_is_kept():
    wire = Wire()

    run = Floor(wire, "replies").run(5, b"body", 0.05)

    assert wire.maximum == 5
    assert len(run.latencies_s) == len(wire.sent) - 5
    assert run.failed == 0


def test_a_request_names_its_reply_topic_and_deadline():
    wire = Wire()

    Floor(wire, "the-replies").run(1, b"body", 0.01)

    correlation_id, body, headers = wire.sent[0]
    assert body == b"body"
    assert headers["correlation-id"] == correlation_id
    assert headers["reply-topic"] == b"the-replies"
    assert int(headers["deadline"]) > time.time() * 1000


def test_first_requests_can_be_spread_over_time():
    wire = Wire()

    Floor(wire, "replies").run(2, b"", 0.02, spread_s=10.0)

    assert wire.maximum == 1


def test_the_end_is_reported_before_the_last_replies_are_awaited(monkeypatch):
    monkeypatch.setattr("tools.bench.load.floor.TIMEOUT_S", 0.05)
    wire = Wire(silent=2)
    ends = []

    run = Floor(wire, "replies").run(3, b"", 0.02, on_end=lambda: ends.append(time.perf_counter()))

    assert len(ends) == 1
    assert run.failed == 2
    assert run.duration_s == pytest.approx(0.02, abs=0.015)
