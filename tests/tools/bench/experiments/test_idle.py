"""Idle processes: sizes, order and report."""

import pytest

from tools.bench.experiments import idle
from tools.bench.measure.usage import Use
from tools.bench.setup import Setup


class FakeSubject:
    """A subject that uses the same every time."""

    started: list[dict[str, str]]

    def __init__(self, servers: object, setup: Setup) -> None:
        self.started.append(setup.env)

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start_meter(self):
        return self

    def read(self) -> Use:
        return Use(2.0, {"web": 0.1, "kafka": 0.4}, {"get": 6}, {"Fetch": 8, "Heartbeat": 2})


def test_each_setting_is_measured_with_each_number_of_workers(monkeypatch: pytest.MonkeyPatch):
    FakeSubject.started = []
    monkeypatch.setattr(idle, "Subject", FakeSubject)
    monkeypatch.setattr(idle, "CALM_S", 0.0)
    setups = {"A": Setup("ours", env={"X": "1"}), "B": Setup("ours")}

    found = idle.measure(None, setups, [2, 4], 1, 0.0)  # type: ignore[arg-type]

    assert FakeSubject.started == [
        {"X": "1", "WEB_CONCURRENCY": "2"},
        {"WEB_CONCURRENCY": "2"},
        {"X": "1", "WEB_CONCURRENCY": "4"},
        {"WEB_CONCURRENCY": "4"},
    ]
    last = " ".join(list(idle.table(found))[-1].split())
    assert last == "B 4 4.0 (4.0..4.0) 3.0 (3.0..3.0) 5.0% 0.0% 0.0% 20.0% 0.0%"
