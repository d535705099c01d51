"""The counts that a measured program prints."""

import pytest
from kafka import KafkaConsumer
from kafka.net.manager import KafkaConnectionManager

from tools.bench.programs.counters import Counters, counts_in


@pytest.fixture(autouse=True)
def polls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the next polls return."""
    found: list[object] = []
    monkeypatch.setattr(KafkaConsumer, "poll", lambda *_, **__: found.pop(0))
    monkeypatch.setattr(KafkaConsumer, "pause", lambda *_: None)
    monkeypatch.setattr(KafkaConnectionManager, "send", lambda *_, **__: "future")
    return found


def test_polls_that_wait_between_records_are_idle(polls, capsys):
    counters, consumer = Counters(), object.__new__(KafkaConsumer)
    consumer._closed = True
    polls += [{}, {"p": [1]}, {}, {}, {"p": [2]}, {}]
    for timeout_ms in (200, 200, 200, 0, 200, 200):
        consumer.poll(timeout_ms)
    consumer.pause()
    counters.print()

    # Neither the one before the first records, nor the one after the last, nor that without time.
    assert counts_in("a line\n" + capsys.readouterr().out) == {
        "polls": 6,
        "polls_with_records": 2,
        "idle_polls": 1,
        "pauses": 1,
    }


def test_requests_are_counted_by_name(capsys):
    counters, manager = Counters(), object.__new__(KafkaConnectionManager)

    assert manager.send(b"a request", node_id=1) == "future"
    counters.print()
    assert counts_in(capsys.readouterr().out) == {"bytes": 1}
