"""Start of the processes without HTTP: settings and stop signals."""

import logging
import os
import signal

import pytest

from rendezvous import __version__
from rendezvous.process.startup import start_process
from tests.fakes import eventually


@pytest.fixture(autouse=True)
def restored_process(monkeypatch):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr("rendezvous.process.startup.configure_logs", lambda log_format: None)
    monkeypatch.setattr("rendezvous.process.startup.make_output_nonblocking", lambda: None)
    for name in ("REDIS_URL", "SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_sets_the_event_and_ends_nothing_by_itself(monkeypatch, number):
    monkeypatch.setenv("KAFKA_URL", "kafka://b:1")
    settings, stop = start_process(required=("KAFKA_URL",))
    before = stop.is_set()
    os.kill(os.getpid(), number)
    eventually(stop.is_set)

    assert not before
    assert settings.kafka_brokers() == ["b:1"]


def test_the_first_line_names_the_version(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("KAFKA_URL", "kafka://b:1")
    start_process(required=("KAFKA_URL",))

    assert caplog.messages[0].startswith(f"version {__version__}, Python 3.")


def test_wrong_settings_exit_with_a_line_each(monkeypatch):
    monkeypatch.setenv("KAFKA_URL", "nonsense")

    with pytest.raises(SystemExit, match=r"(?s)^KAFKA_URL=.*\nSECRET_KEY[^\n]*$"):
        start_process()
