"""How the processes without HTTP begin."""

import os
import signal

import pytest

from rendezvous.process.startup import begin
from tests.fakes import eventually


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr("rendezvous.process.startup.configure_logs", lambda log_format: None)
    monkeypatch.setattr("rendezvous.process.startup.make_output_nonblocking", lambda: None)
    monkeypatch.setattr("rendezvous.process.startup.use_one_arena", lambda: None)
    for name in ("REDIS_URL", "SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_heard_and_ends_nothing_by_itself(monkeypatch, number):
    monkeypatch.setenv("KAFKA_URL", "kafka://b:1")
    settings, stop = begin(needs=("KAFKA_URL",))
    before = stop.is_set()
    os.kill(os.getpid(), number)
    eventually(stop.is_set)

    assert not before
    assert settings.kafka_brokers() == ["b:1"]


def test_wrong_settings_end_the_start_with_a_line_each(monkeypatch):
    monkeypatch.setenv("KAFKA_URL", "nonsense")

    with pytest.raises(SystemExit, match=r"(?s)^KAFKA_URL=.*\nREDIS_URL.*\nSECRET_KEY[^\n]*$"):
        begin()
