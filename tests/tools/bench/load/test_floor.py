"""The floor counts what is answered in time, and the responder answers when it is due."""

import time

import pytest

from tools.bench.load.floor import Floor
from tools.bench.programs.echo_responder import LEAST_POLL_MS, POLL_MS, Due


class Wire:
    """Answers at the next look, except the first *silent* requests."""

    def __init__(self, silent=0):
        self.sent = []
        self.most = 0
        self._silent = silent
        self._waiting = []

    def send(self, correlation_id, body, headers):
        self.sent.append((correlation_id, body, dict(headers)))
        if len(self.sent) > self._silent:
            self._waiting.append(correlation_id)

    def arrived(self):
        self.most = max(self.most, len(self._waiting))
        taken, self._waiting = self._waiting, []
        time.sleep(0.001)
        yield from taken

    def close(self):
        pass


def test_so_many_requests_are_under_way_at_any_time():
    wire = Wire()

    seen = Floor(wire, "replies").run(5, b"body", 0.05)

    assert wire.most == 5
    assert len(seen.latencies_s) == len(wire.sent) - 5
    assert seen.failed == 0


def test_a_request_says_where_its_reply_goes():
    wire = Wire()

    Floor(wire, "the-replies").run(1, b"body", 0.01)

    correlation_id, body, headers = wire.sent[0]
    assert body == b"body"
    assert headers["correlation-id"] == correlation_id
    assert headers["reply-topic"] == b"the-replies"
    assert int(headers["deadline"]) > time.time() * 1000


def test_requests_begin_one_after_the_other_when_they_are_spread():
    wire = Wire()

    Floor(wire, "replies").run(2, b"", 0.02, spread_s=10.0)

    assert wire.most == 1


def test_the_end_is_told_before_the_last_ones_are_waited_for(monkeypatch):
    monkeypatch.setattr("tools.bench.load.floor.TIMEOUT_S", 0.05)
    wire = Wire(silent=2)
    ends = []

    seen = Floor(wire, "replies").run(3, b"", 0.02, at_end=lambda: ends.append(time.perf_counter()))

    assert len(ends) == 1
    assert seen.failed == 2
    assert seen.duration_s == pytest.approx(0.02, abs=0.015)


def test_replies_go_out_in_the_order_in_which_they_are_due():
    due = Due()
    due.add(2.0, "second")
    due.add(1.0, "first")
    due.add(2.0, "third")

    assert due.take(0.9) == []
    assert due.take(2.0) == ["first", "second", "third"]
    assert due.take(9.0) == []


def test_nobody_looks_for_requests_beyond_the_next_due_reply():
    due = Due()
    assert due.poll_ms(0.0) == POLL_MS
    due.add(1.0, "reply")

    assert due.poll_ms(0.5) == POLL_MS
    assert due.poll_ms(0.998) == pytest.approx(2.0)
    assert due.poll_ms(1.5) == LEAST_POLL_MS
